//! What was found, and how it is shown.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::doctor) enum Status {
    Ok,
    /// The server runs, but something may surprise, or soon won't work.
    Warning,
    /// The server won't start, or won't do what it is configured for.
    Failure,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(in crate::doctor) check: &'static str,
    pub(in crate::doctor) status: Status,
    /// What was found, as a sentence without its full stop. No secrets.
    pub(crate) says: String,
    /// What to do about it.
    pub(crate) advice: Option<String>,
    /// The same as a command for a shell.
    pub(crate) command: Option<String>,
}

impl Finding {
    pub(in crate::doctor) fn ok(check: &'static str, says: impl Into<String>) -> Self {
        Self { check, status: Status::Ok, says: says.into(), advice: None, command: None }
    }

    pub(in crate::doctor) fn warning(
        check: &'static str,
        says: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { status: Status::Warning, advice: Some(advice.into()), ..Self::ok(check, says) }
    }

    pub(in crate::doctor) fn failure(
        check: &'static str,
        says: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { status: Status::Failure, ..Self::warning(check, says, advice) }
    }

    /// The advice as a command.
    #[must_use]
    pub(in crate::doctor) fn run(self, command: impl Into<String>) -> Self {
        Self { command: Some(command.into()), ..self }
    }

    /// What the log says of it.
    pub(crate) fn line(&self) -> String {
        let mut line = format!("{}: {}", self.check, self.says);
        for part in [&self.advice, &self.command].into_iter().flatten() {
            line.extend(["; ", part]);
        }
        line
    }
}

/// The worst of them.
pub(in crate::doctor) fn worst(findings: &[Finding]) -> Status {
    findings.iter().map(|finding| finding.status).max().unwrap_or(Status::Ok)
}

/// A line each, with what to do below it, and how many there are of each kind.
pub(in crate::doctor) fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    for Finding { check, status, says, advice, command } in findings {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{:<8} {check:<width$}  {says}", status.name());
        for part in advice.iter().cloned().chain(command.iter().map(|command| format!("$ {command}"))) {
            let _ = writeln!(text, "{:8} {:width$}  -> {part}", "", "");
        }
    }
    let count = |status| findings.iter().filter(|finding| finding.status == status).count();
    let counts = [Status::Failure, Status::Warning, Status::Ok]
        .map(|status| plural(count(status), status.name()))
        .join(", ");
    let _ = writeln!(text, "\n{counts}");
    text
}

pub(in crate::doctor) fn json(findings: &[Finding]) -> Value {
    let list: Vec<_> = findings
        .iter()
        .map(|Finding { check, status, says, advice, command }| {
            json!({ "check": check, "status": status.name(), "says": says, "advice": advice, "command": command })
        })
        .collect();
    json!({ "version": env!("CARGO_PKG_VERSION"), "status": worst(findings).name(), "findings": list })
}

/// `1 file`, `2 files`; "ok" has no plural.
pub(in crate::doctor) fn plural(count: usize, what: &str) -> String {
    let ending = if count == 1 || what == "ok" { "" } else { "s" };
    format!("{count} {what}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_lines_with_what_to_do_below_and_a_count_at_the_end() {
        let findings = [
            Finding::ok("clock", "it is 2026"),
            Finding::failure("port", "it is taken", "stop the other program").run("kill 7"),
        ];
        let expected = "\
ok       clock  it is 2026
failure  port   it is taken
                -> stop the other program
                -> $ kill 7

1 failure, 0 warnings, 1 ok
";
        assert_eq!(text(&findings), expected);
        let json = json(&findings);
        assert_eq!((&json["status"], &json["findings"][1]["command"]), (&"failure".into(), &"kill 7".into()));
        assert_eq!(findings[1].line(), "port: it is taken; stop the other program; kill 7");
    }
}
