//! Tests of the usual suites, longer than usual.

use std::process::Command;

use crate::report::Report;

/// Runs the tests of a name and says whether they all passed, and how many there were.
fn run(arguments: &[&str], environment: &[(&str, &str)], report: &Report) -> (bool, u64) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["test", "--locked"]).args(arguments).envs(environment.iter().copied()).env_remove("SOAK");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let passed = |line: &str| -> Option<u64> {
        line.strip_prefix("test result: ok. ")?.split(' ').next()?.parse().ok()
    };
    let passed = text.lines().filter_map(passed).sum();
    if !output.status.success() {
        report.say(format!("{text}\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    (output.status.success(), passed)
}

/// Long cuts of the network while a page reads, and a restart under fifty pages.
pub(crate) fn browser(report: &mut Report) {
    report.say("browser: cuts of 5 and 12 seconds, a restart with 50 pages open");
    let environment = [("LEAFRESH_TEST_CUTS", "5,12")];
    let (passed, tests) = run(&["--workspace", "--test", "browser", "network::"], &environment, report);
    report.say(format!("{tests} tests passed"));
    report.goal("browser_failures", f64::from(u8::from(!passed || tests == 0)), 0.0);
}

/// Property tests of everything that reads what others wrote.
pub(crate) fn fuzz(cases: u32, report: &mut Report) {
    report.say(format!("fuzzing: {cases} cases of each property"));
    let cases = cases.to_string();
    let (passed, tests) = run(&["--workspace", "fuzz_"], &[("PROPTEST_CASES", &cases)], report);
    report.say(format!("{tests} properties held"));
    report.goal("fuzz_failures", f64::from(u8::from(!passed || tests == 0)), 0.0);
}
