//! The file of API keys. What it holds is never shown.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use leafresh_server::config::{Config, Error};
use leafresh_server::count_keys;

use super::finding::Finding;
use crate::shell::quoted;

const CHECK: &str = "keys";

pub(super) fn finding(config: &Config) -> Finding {
    let path = match config.keys.path() {
        Ok(Some(path)) => path,
        Ok(None) => return without(config),
        Err(error) => return Finding::failure(CHECK, error.to_string(), "write the whole path"),
    };
    match count_keys(&path) {
        Ok(count) => judge(&path, &mode(&path), count),
        Err(error) => unusable(&path, &error),
    }
}

/// Whether others than the server's user can read or change the file.
pub(super) fn exposed(config: &Config) -> Option<Finding> {
    let path = config.keys.path().ok().flatten()?;
    Some(judge(&path, &mode(&path), 0))
}

fn mode(path: &Path) -> io::Result<u32> {
    Ok(std::fs::metadata(path)?.permissions().mode())
}

fn without(config: &Config) -> Finding {
    let listen = config.server.listen.as_str();
    let host = listen.rsplit_once(':').map_or(listen, |(host, _)| host);
    let local = ["127.", "localhost", "[::1]"].iter().any(|own| host.starts_with(own));
    let says = format!("none: whoever reaches {listen} may ask");
    if local || !config.limits.trusted_proxies.is_empty() {
        return Finding::ok(CHECK, says);
    }
    let advice = "that may be meant; else make keys and name their file with keys.file";
    Finding::warning(CHECK, says, advice).run("leafresh keys new NAME >> config/keys.toml")
}

fn unusable(path: &Path, error: &Error) -> Finding {
    let advice = "correct the line that is named; a new file is made by the command";
    Finding::failure(CHECK, error.to_string(), advice)
        .run(format!("leafresh keys new NAME > {}", quoted(path)))
}

fn judge(path: &Path, mode: &io::Result<u32>, count: usize) -> Finding {
    let place = path.display();
    let mode = match mode {
        Ok(mode) => mode & 0o777,
        Err(error) => {
            return Finding::failure(CHECK, format!("{place}: {error}"), "let this user read it");
        }
    };
    let private = format!("chmod 600 {}", quoted(path));
    if mode & 0o022 != 0 {
        let says =
            format!("{place} (mode {mode:03o}) can be changed by others, who could add keys of their own");
        return Finding::failure(CHECK, says, "leave it to the server's user").run(private);
    }
    if mode & 0o044 != 0 {
        let says = format!("{place} (mode {mode:03o}) can be read by others");
        return Finding::warning(CHECK, says, "leave it to the server's user").run(private);
    }
    Finding::ok(CHECK, format!("{place}: {}", super::finding::plural(count, "key")))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    #[test]
    fn a_file_that_others_may_read_or_change_is_named_with_the_command_that_mends_it() {
        let path = Path::new("config/my keys.toml");
        let cases = [
            (0o100_600, Status::Ok),
            (0o100_400, Status::Ok),
            (0o100_640, Status::Warning),
            (0o100_644, Status::Warning),
            (0o100_660, Status::Failure),
            (0o100_602, Status::Failure),
        ];
        for (mode, status) in cases {
            let finding = judge(path, &Ok(mode), 2);
            assert_eq!(finding.status, status, "{finding:?}");
            let command = (status != Status::Ok).then(|| "chmod 600 'config/my keys.toml'".to_owned());
            assert_eq!(finding.command, command);
        }
    }

    #[test]
    fn an_address_that_others_reach_without_keys_is_a_warning() {
        let at = |listen: &'static str| {
            let flags = leafresh_server::config::Flags(vec![("--listen", "server.listen", listen.into())]);
            let sources = leafresh_server::config::Sources { flags, ..Default::default() };
            without(&Config::load(&sources).unwrap()).status
        };
        assert_eq!(at("127.0.0.1:8000"), Status::Ok);
        assert_eq!(at("[::1]:8000"), Status::Ok);
        assert_eq!(at("localhost:8000"), Status::Ok);
        assert_eq!(at("0.0.0.0:8000"), Status::Warning);
    }
}
