//! `leafresh doctor`: states that are made here, what it says of them, and whether what it advises mends them.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use leafresh_engine::fake::FakeEmbedder;
use leafresh_retrieval::{Index, Location};
use serde_json::Value;
use tempfile::TempDir;

use crate::index_kill::embedding_model;
use crate::program::{Program, logged, model};
use crate::run::{leafresh, text};

/// A folder for one test's data, and the doctor that looks at it.
struct Place {
    dir: TempDir,
    settings: Vec<(String, String)>,
}

/// What the doctor said.
struct Report {
    json: Value,
    code: Option<i32>,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap(), settings: Vec::new() };
        let data = place.path("data").to_str().unwrap().to_owned();
        place.with("DATA__DIR", &data).with("SERVER__LISTEN", "127.0.0.1:0").with("RETRIEVAL__MODEL", "")
    }

    fn with(mut self, key: &str, value: &str) -> Self {
        self.settings.push((format!("LEAFRESH_{key}"), value.to_owned()));
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = leafresh(arguments);
        command.envs(self.settings.iter().map(|(key, value)| (key, value)));
        command
    }

    fn look(&self, arguments: &[&str]) -> Report {
        Report::of(self.command(&[&["doctor", "--json"], arguments].concat()))
    }

    /// What the process finds in which a system call fails so.
    #[cfg(target_os = "linux")]
    fn look_where(&self, put_in_the_way: impl FnOnce() + Send + 'static) -> Report {
        let command = self.command(&["doctor", "--json"]);
        let looked = std::thread::spawn(move || {
            put_in_the_way();
            Report::of(command)
        });
        looked.join().unwrap()
    }
}

impl Report {
    fn of(mut command: Command) -> Self {
        let output = command.output().unwrap();
        let json = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        Self { json, code: output.status.code() }
    }

    /// The findings of a check.
    fn all(&self, check: &str) -> Vec<&Value> {
        self.json["findings"].as_array().unwrap().iter().filter(|finding| finding["check"] == check).collect()
    }

    /// The worst finding of a check.
    fn worst(&self, check: &str) -> &Value {
        let rank = |finding: &&&Value| {
            ["ok", "warning", "failure"].iter().position(|status| finding["status"] == *status)
        };
        self.all(check).iter().max_by_key(rank).unwrap_or_else(|| panic!("no {check} in {:#}", self.json))
    }

    /// That a check has this status, with the part in what it says; hands over its command.
    #[track_caller]
    fn says(&self, check: &str, status: &str, part: &str) -> Option<String> {
        let finding = self.worst(check);
        let says = finding["says"].as_str().unwrap();
        assert!(finding["status"] == status && says.contains(part), "{finding:#}");
        assert_eq!(finding["advice"].is_string(), status != "ok", "{finding:#}");
        assert_eq!(self.code, Some(i32::from(self.json["status"] == "failure")), "{:#}", self.json);
        finding["command"].as_str().map(str::to_owned)
    }
}

/// Does what was advised, in a shell.
fn follow(command: Option<String>) {
    let command = command.expect("there is a command");
    let done = Command::new("sh").args(["-c", &command]).output().unwrap();
    assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn where_all_is_well_nothing_is_changed_and_it_ends_with_0() {
    let (Some(model), Some(embedding)) = (model(), embedding_model()) else { return };
    let place =
        Place::new().with("MODEL__PATH", &model).with("RETRIEVAL__MODEL", embedding.to_str().unwrap());
    let place = place.with("ENGINE__CONTEXT", "4096");
    let report = place.look(&[]);
    assert_eq!(report.code, Some(0), "{:#}", report.json);
    assert!(!place.path("data").exists(), "it makes no folder");
    for check in ["catalogue", "model", "embedding model", "index", "sessions", "keys", "port", "clock"] {
        report.says(check, "ok", "");
    }
    for check in ["configuration", "disk", "memory", "processor", "gpu", "limits", "kernel"] {
        assert_ne!(report.worst(check)["status"], "failure");
    }
    report.says("embedding model", "ok", "384 dimensions");
    report.says("model", "ok", "Q4_K_M");

    let output = place.command(&["doctor"]).output().unwrap();
    let said = text(&output.stdout);
    assert!(output.status.success() && said.contains("\nok       port"), "{said}");
    assert!(said.trim_end().ends_with(" ok") && said.contains("\n0 failures, "), "{said}");
}

#[test]
fn a_busy_port_is_named_with_who_has_it_until_that_ends() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = Place::new();
    let report = place.look(&["--listen", &address]);
    let own = format!("(process {})", std::process::id());
    let command = report.says("port", "failure", &own);
    assert_eq!(command, Some(format!("kill {}", std::process::id())));
    drop(taken);
    place.look(&["--listen", &address]).says("port", "ok", &address);
    place.look(&["--listen", "192.0.2.1:80"]).says("port", "failure", "no network interface");
}

#[test]
fn a_model_that_is_cut_off_or_of_another_kind_is_named_until_a_whole_one_lies_there() {
    let (Some(model), Some(embedding)) = (model(), embedding_model()) else { return };
    let place = Place::new();
    let file = place.path("model.gguf");
    let place = place.with("MODEL__PATH", file.to_str().unwrap());
    place.look(&[]).says("model", "failure", "no such file");
    let whole = std::fs::read(&model).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let report = place.look(&[]);
    assert_eq!(report.says("model", "failure", "model.gguf"), Some("make model".into()));
    assert!(report.all("memory").is_empty(), "nothing is known to plan with");
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(&embedding, &file).unwrap();
    place.look(&[]).says("model", "failure", "it makes vectors of texts");
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(&model, &file).unwrap();
    place.look(&[]).says("model", "ok", "gemma3");
    std::fs::write(place.path("model.gguf.sha256"), format!("{}  model.gguf\n", "0".repeat(64))).unwrap();
    place.look(&[]).says("model", "failure", "is damaged or another file");

    let report = place.look(&["--embedding-model", &model]);
    report.says("embedding model", "failure", "is no embedding model");
    place.look(&["--embedding-model", "nowhere.gguf"]).says("embedding model", "warning", "no such file");
}

#[test]
fn a_model_that_does_not_fit_fits_with_the_change_that_is_named() {
    let Some(model) = model() else { return };
    let place = Place::new().with("MODEL__PATH", &model);
    let with_context = |context: &str| {
        let mut command = place.command(&["doctor", "--json"]);
        command.env("LEAFRESH_ENGINE__CONTEXT", context);
        Report::of(command)
    };
    let report = with_context("100000000000");
    report.says("memory", "failure", "engine.context at most ");
    let says = report.worst("memory")["says"].as_str().unwrap();
    let most = says.split_once("engine.context at most ").unwrap().1.split([';', '.']).next().unwrap();
    // Others take and give back memory meanwhile.
    let some = most.parse::<u64>().unwrap() / 2;
    assert_ne!(with_context(&some.to_string()).worst("memory")["status"], "failure");
}

#[test]
fn an_index_of_another_dimension_is_made_anew_by_the_command() {
    let Some(embedding) = embedding_model() else { return };
    let place = Place::new().with("RETRIEVAL__MODEL", embedding.to_str().unwrap());
    let folder = place.path("data/index");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let index =
        runtime.block_on(Index::open(&Location::Folder(folder.clone()), Arc::new(FakeEmbedder::new(32))));
    drop(index.unwrap());
    let report = place.look(&[]);
    let command = report.says("index", "failure", "32 dimensions");
    assert_eq!(command.as_deref(), Some("leafresh index --rebuild"));

    let mut rebuild =
        place.command(&["index", "--rebuild"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // All of it would take minutes: what is done counts.
    let manifest = folder.join("manifest.json");
    while !std::fs::read_to_string(&manifest).is_ok_and(|text| text.contains("384")) {
        assert!(rebuild.try_wait().unwrap().is_none(), "it ended without a word");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    place.look(&[]).says("index", "ok", "; in use by leafresh (process ");
    rebuild.kill().unwrap();
    rebuild.wait().unwrap();
    place.look(&[]).says("index", "ok", "to be brought up to date");
}

/// Without the rights of root, whom no permission holds up. None: this machine has no `setpriv`, or doesn't allow it.
fn as_anybody(command: &Command) -> Option<Command> {
    let mut plain = Command::new("setpriv");
    plain.args(["--bounding-set=-all", "--inh-caps=-all", "--"]);
    let works =
        Command::new("setpriv").args(["--bounding-set=-all", "--inh-caps=-all", "--", "true"]).status();
    if !works.is_ok_and(|status| status.success()) {
        eprintln!("skipped: setpriv can't take rights away here");
        return None;
    }
    plain.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => plain.env(name, value),
            None => plain.env_remove(name),
        };
    }
    plain.current_dir(command.get_current_dir().unwrap());
    Some(plain)
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_can_not_be_written_is_named_until_the_command_was_run() {
    let place = Place::new();
    let data = place.path("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o500)).unwrap();
    let look = || as_anybody(&place.command(&["doctor", "--json"])).map(Report::of);
    if let Some(report) = look() {
        follow(report.says("disk", "failure", "may not write in"));
        assert_ne!(look().unwrap().worst("disk")["status"], "failure");
    }
    let read_only = || {
        for call in [libc::SYS_faccessat, libc::SYS_faccessat2] {
            crate::kernel::fails(call, None, libc::EROFS);
        }
        #[cfg(target_arch = "x86_64")]
        crate::kernel::fails(libc::SYS_access, None, libc::EROFS);
    };
    place.look_where(read_only).says("disk", "failure", "is read-only");
    std::fs::remove_dir(&data).unwrap();
    std::fs::write(&data, "").unwrap();
    place.look(&[]).says("disk", "failure", "is no folder");
}

#[test]
fn damaged_conversations_are_named_and_moved_away_by_the_command() {
    let place = Place::new();
    let file = place.path("data/sessions.db");
    drop(leafresh_store::Sqlite::open(&file, leafresh_store::Options::default()).unwrap());
    place.look(&[]).says("sessions", "ok", "0 conversations, layout ");
    let whole = std::fs::read(&file).unwrap();
    let mut holed = whole.clone();
    holed[4096..].fill(0x5a);
    std::fs::write(&file, holed).unwrap();
    follow(place.look(&[]).says("sessions", "failure", "is damaged"));
    place.look(&[]).says("sessions", "ok", "none yet");
}

#[cfg(target_os = "linux")]
#[test]
fn who_holds_the_write_lock_of_the_conversations_is_named_until_it_ends() {
    let place = Place::new();
    let file = place.path("data/sessions.db");
    drop(leafresh_store::Sqlite::open(&file, leafresh_store::Options::default()).unwrap());
    let hold = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                c.execute('BEGIN IMMEDIATE')\nprint('held', flush=True)\nsys.stdin.read()";
    let mut other = Command::new("python3")
        .args(["-c", hold, file.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(other.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "held\n");
    let report = place.look(&[]);
    report.says("sessions", "warning", &format!("python3 (process {}) holds the write lock", other.id()));
    drop(other.stdin.take());
    other.wait().unwrap();
    place.look(&[]).says("sessions", "ok", "");
}

#[test]
fn keys_that_others_can_read_are_named_until_the_command_was_run_and_never_shown() {
    let place = Place::new();
    let file = place.path("keys of mine.toml");
    let (key, secret) = ("a-key-of-sixteen-or-more", "another-secret");
    let place = place.with("KEYS__FILE", file.to_str().unwrap()).with("RETRIEVAL__API_KEY", secret);
    place.look(&[]).says("keys", "failure", "keys of mine.toml");
    std::fs::write(&file, format!("[[key]]\nname = \"a\"\nkey = \"{key}\"\n")).unwrap();
    for (mode, status) in [(0o666, "failure"), (0o644, "warning")] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        follow(place.look(&[]).says("keys", status, &format!("mode {mode:o}")));
        place.look(&[]).says("keys", "ok", "1 key");
    }
    std::fs::write(&file, format!("[[key]]\nname = \"a\"\nkey = \"{key}\" x\n")).unwrap();
    let broken = place.look(&[]);
    broken.says("keys", "failure", "line 3");
    for output in [broken.json.to_string(), text(&place.command(&["doctor"]).output().unwrap().stdout)] {
        assert!(!output.contains(key) && !output.contains(secret), "{output}");
    }
    place.look(&["--listen", "0.0.0.0:0"]);
    let open = Place::new().look(&["--listen", "0.0.0.0:0"]);
    assert!(open.says("keys", "warning", "0.0.0.0").unwrap().starts_with("leafresh keys new"));
}

#[test]
fn a_configuration_that_can_not_be_read_is_the_only_finding_and_one_that_contradicts_itself_is_one_of_many() {
    let report = Place::new().with("SERVER__LISTEM", "a:1").look(&[]);
    report.says("configuration", "failure", "did you mean `listen`?");
    assert_eq!(report.json["findings"].as_array().unwrap().len(), 1);
    let place = Place::new().with("ADMIN__LISTEN", "127.0.0.1:8000");
    place.look(&["--listen", "127.0.0.1:8000"]).says("configuration", "failure", "admin.listen");
    let report = place.look(&[]);
    report.says("configuration", "ok", "variables of the environment");
    assert_eq!(report.all("port").len(), 2);
}

#[test]
fn a_catalogue_with_a_fault_is_named_with_the_command_that_looks_again() {
    let place = Place::new();
    let dir = place.path("catalogue");
    let shown = dir.to_str().unwrap();
    assert!(place.command(&["catalog", "export", shown]).output().unwrap().status.success());
    place.look(&["--catalog", shown]).says("catalogue", "ok", "documents");
    let file = dir.join("categories.toml");
    let whole = std::fs::read(&file).unwrap();
    std::fs::OpenOptions::new().append(true).open(&file).unwrap().write_all(b"\nunknown_key = 1\n").unwrap();
    let command = place.look(&["--catalog", shown]).says("catalogue", "failure", "unknown_key");
    assert_eq!(command, Some(format!("leafresh catalog check {shown}")));
    std::fs::write(&file, whole).unwrap();
    place.look(&["--catalog", shown]).says("catalogue", "ok", "documents");
}

#[test]
fn a_qdrant_server_that_is_not_there_and_its_other_port_are_told_apart() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let place =
        |address: std::net::SocketAddr| Place::new().with("RETRIEVAL__URL", &format!("http://{address}"));
    let report = place(free).look(&[]);
    report.says("qdrant", "failure", &free.to_string());
    assert!(report.all("index").is_empty(), "said once");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            let _ = BufReader::new(&stream).read_line(&mut line);
            let _ =
                stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    place(address).look(&[]).says("qdrant", "failure", "gRPC is 6334");
}

#[cfg(target_os = "linux")]
#[test]
fn what_the_kernel_lacks_is_a_warning_each() {
    let place = Place::new();
    let lacking = || {
        // The way there needs it; what is started afterwards doesn't get it.
        crate::kernel::fails(libc::SYS_landlock_create_ruleset, None, libc::ENOSYS);
        crate::kernel::fails(
            libc::SYS_setsockopt,
            Some((2, libc::TCP_USER_TIMEOUT as u64)),
            libc::ENOPROTOOPT,
        );
        crate::kernel::fails(libc::SYS_seccomp, None, libc::EPERM);
    };
    let report = place.look_where(lacking);
    let warnings: Vec<_> =
        report.all("kernel").into_iter().filter(|finding| finding["status"] == "warning").collect();
    assert_eq!(warnings.len(), 3, "{:#}", report.json);
    for (warning, part) in warnings.iter().zip(["seccomp", "Landlock", "stay open longer"]) {
        assert!(warning["says"].as_str().unwrap().contains(part), "{warning:#}");
    }
    let off = place.with("ENGINE__PROCESS", "false").look(&[]);
    off.says("kernel", "ok", "");
}

#[test]
fn looking_deep_asks_the_model_once() {
    let (Some(model), Some(embedding)) = (model(), embedding_model()) else { return };
    let place = Place::new()
        .with("MODEL__PATH", &model)
        .with("RETRIEVAL__MODEL", embedding.to_str().unwrap())
        .with("ENGINE__THREADS", "1")
        .with("LOG__FILTER", "off");
    let report = place.look(&["--deep"]);
    report.says("answer", "ok", "3 challenges after");
    report.says("embedding", "ok", "embeds a text in");
    assert!(place.look(&[]).all("answer").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_logs_what_nothing_else_there_says() {
    let Some(model) = model() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (keys, log) = (dir.path().join("keys.toml"), dir.path().join("log"));
    std::fs::write(&keys, "[[key]]\nname = \"a\"\nkey = \"a-key-of-sixteen-or-more\"\n").unwrap();
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o644)).unwrap();
    let started = |command: &mut Command| {
        command.env("LEAFRESH_KEYS__FILE", &keys).stderr(std::fs::File::create(&log).unwrap());
    };
    let program = Program::begin("127.0.0.1:0", &model, started);
    logged(
        &log,
        &format!(
            "(mode 644) can be read by others; leave it to the server's user; chmod 600 {}",
            keys.display()
        ),
    )
    .await;
    // Beside a server that runs it is no failure that there is one.
    let place = Place::new().with("MODEL__PATH", &model);
    let report = place.look(&["--listen", &program.address.to_string()]);
    report.says("port", "warning", &format!("leafresh (process {}) listens on", program.pid()));
}

#[test]
fn a_missing_place_for_data_is_a_failure_that_names_the_setting() {
    let mut command = leafresh(&["doctor", "--json"]);
    command.env_clear().env("LEAFRESH_SERVER__LISTEN", "127.0.0.1:0");
    let report = Report::of(command);
    report.says("disk", "failure", "data.dir");
    report.says("sessions", "failure", "data.dir");
    report.says("model", "failure", "model.path");
}
