use super::*;

fn stat(pid: u32, parent: u32) -> (u32, Stat) {
    (pid, Stat { name: "x".into(), parent, ticks: 0 })
}

#[test]
fn a_process_is_read_whatever_its_name_holds() {
    let fields = "S 7 1 1 0 -1 4194560 1 2 0 0 30 12 5 3 20 0 1 0 100 1000 10";
    for name in ["leafresh", "a b", "x) S 9 (y", ""] {
        let parsed = Stat::parse(&format!("42 ({name}) {fields}")).unwrap();
        assert_eq!(parsed, Stat { name: name.into(), parent: 7, ticks: 50 }, "{name}");
    }
    for bad in ["", "42", "42 (x)", "42 (x) S 1 2 3", "42 (x) S a b c d e f g h i j k l m n o p q"] {
        assert_eq!(Stat::parse(bad), None, "{bad}");
    }
}

#[test]
fn the_machines_time_is_busy_idle_or_stolen() {
    let text = "cpu  100 10 40 800 20 3 7 20 5 0\ncpu0 1 2 3\n";
    assert_eq!(cpu(text), Some(Cpu { total: 1000, busy: 160, steal: 20 }));
    assert_eq!(cpu("intr 1"), None);
    assert_eq!(cpu("cpu 1 2 3"), None);
}

#[test]
fn children_of_children_belong_to_a_process() {
    let processes = BTreeMap::from([stat(1, 0), stat(5, 1), stat(6, 5), stat(7, 6), stat(8, 1)]);
    assert_eq!(descendants(5, &processes), [5, 6, 7]);
    assert_eq!(descendants(8, &processes), [8]);
    // A circle can't be, but reading isn't atomic.
    assert_eq!(descendants(1, &BTreeMap::from([stat(1, 2), stat(2, 1)])), [1, 2]);
}

#[test]
fn memory_is_read_from_status() {
    let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
    assert_eq!((kib(status, "VmRSS:"), kib(status, "VmHWM:"), kib(status, "VmSwap:")), (1024, 2048, 0));
}

/// After `busy` ticks of work on a machine that is `total` ticks old.
fn sample(total: u64, busy: u64, own: u64, server: Option<u64>) -> Sample {
    Sample {
        at: 0.0,
        ended: 0,
        cpu: Some(Cpu { total, busy, steal: 0 }),
        own_ticks: Some(own),
        server: server.map(|ticks| Process { ticks, rss_bytes: 3 << 20, peak_bytes: 4 << 20 }),
    }
}

#[test]
fn others_are_what_is_left_of_the_busy_time() {
    let value = |samples: &[Sample], key: &str| {
        figures(samples).into_iter().find(|figure| figure.key == key).unwrap().value
    };
    let quiet = [sample(3000, 0, 0, Some(10)), sample(4000, 500, 20, Some(460))];
    assert_eq!(value(&quiet, "cpu_server").map(f64::round), Some(45.0));
    assert_eq!(value(&quiet, "cpu_client").map(f64::round), Some(2.0));
    assert_eq!(value(&quiet, "cpu_others").map(f64::round), Some(3.0));
    assert_eq!(value(&quiet, "rss_after"), Some(3.0));
    assert_eq!(value(&quiet, "rss_high_water"), Some(4.0));
    assert!(warnings(&figures(&quiet)).is_empty());

    let busy = [sample(3000, 0, 0, Some(10)), sample(4000, 900, 20, Some(460))];
    let warnings = warnings(&figures(&busy));
    assert!(warnings.len() == 1 && warnings[0].contains("43 %"), "{warnings:?}");

    let unknown = [sample(3000, 0, 0, None), sample(4000, 900, 20, None)];
    assert_eq!(value(&unknown, "cpu_others"), None, "without --pid nobody can tell");
}

#[cfg(target_os = "linux")]
#[test]
fn this_process_can_be_watched() {
    let sample = Watch { pid: Some(std::process::id()) }.sample(1.0, 2);
    let server = sample.server.unwrap();
    assert!(server.rss_bytes > 1 << 20 && server.peak_bytes >= server.rss_bytes, "{server:?}");
    assert!(sample.cpu.unwrap().total > 0 && sample.own_ticks.is_some());
    assert_eq!(Watch { pid: Some(u32::MAX) }.sample(0.0, 0).server, None);
}
