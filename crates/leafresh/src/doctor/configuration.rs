//! The configuration as a whole.

use std::path::Path;

use leafresh_server::config::{Config, DEFAULT_FILE, Error, Sources};

use super::finding::Finding;

const CHECK: &str = "configuration";

/// What to say when there is none to go on with.
pub(super) fn unusable(error: &Error) -> Finding {
    let advice = "correct what is named, which config/leafresh.toml explains; nothing else can be looked at before that";
    Finding::failure(CHECK, error.to_string(), advice)
}

pub(super) fn findings(config: &Config, sources: &Sources) -> Vec<Finding> {
    let mut findings = contradictions(config);
    let passed_over = config.notes.iter().map(|note| {
        Finding::warning(
            CHECK,
            note,
            "what is passed over changes nothing; take it away, or write it as a setting",
        )
    });
    findings.extend(passed_over);
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, read(sources)));
    }
    findings
}

/// Where it comes from.
fn read(sources: &Sources) -> String {
    let file = match &sources.file {
        Some(file) => file.display().to_string(),
        None if Path::new(DEFAULT_FILE).exists() => DEFAULT_FILE.to_owned(),
        None => format!("no file (there is no {DEFAULT_FILE} here)"),
    };
    let own = |variables: &[(String, String)]| {
        variables.iter().filter(|(name, _)| name.starts_with("LEAFRESH_")).count()
    };
    let mut parts = vec![file];
    for (count, place) in [(own(&sources.dotenv), ".env"), (own(&sources.environment), "the environment")] {
        if count > 0 {
            parts.push(format!("{} of {place}", super::finding::plural(count, "variable")));
        }
    }
    if !sources.flags.0.is_empty() {
        let flags: Vec<_> = sources.flags.0.iter().map(|(flag, ..)| *flag).collect();
        parts.push(flags.join(" "));
    }
    parts.join(", ")
}

/// Settings that can be read one by one, but don't go together.
pub(super) fn contradictions(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(error) = config.engine.check() {
        let advice = "set the key that is named to a value that can work";
        findings.push(Finding::failure(CHECK, error.to_string(), advice));
    }
    if config.admin.listen.as_ref().is_some_and(|admin| *admin == config.server.listen) {
        let says = format!("server.listen and admin.listen are both {}", config.server.listen.as_str());
        findings.push(Finding::failure(CHECK, says, "give admin.listen a port of its own, or leave it out"));
    }
    let (prompt, context) = (config.chat.prompt_tokens, config.engine.context);
    if prompt > context {
        let says = format!("chat.prompt_tokens is {prompt}, more than the {context} of engine.context");
        let advice = "set chat.prompt_tokens lower, or engine.context higher, which takes more memory";
        findings.push(Finding::warning(CHECK, says, advice));
    }
    let (of_key, of_all) = (config.stream.memory_per_key_mib, config.stream.memory_mib);
    if config.keys.file.is_some() && of_key > of_all {
        let says =
            format!("stream.memory_per_key_mib is {of_key}, more than the {of_all} of all keys together");
        let advice = "one key can fill the memory for streams: set stream.memory_per_key_mib lower";
        findings.push(Finding::warning(CHECK, says, advice));
    }
    findings
}

#[cfg(test)]
mod tests {
    use leafresh_server::config::Flags;

    use super::super::finding::Status;
    use super::*;

    fn with(settings: &[(&'static str, &str)]) -> Config {
        let flags = settings.iter().map(|(key, value)| ("--test", *key, (*value).to_owned())).collect();
        Config::load(&Sources { flags: Flags(flags), ..Sources::default() }).unwrap()
    }

    /// Values that flags can't carry, as they are texts.
    fn changed(change: impl FnOnce(&mut Config)) -> Config {
        let mut config = Config::default();
        change(&mut config);
        config
    }

    #[test]
    fn settings_that_do_not_go_together_are_named() {
        let cases = [
            (Config::default(), None),
            (with(&[("admin.listen", "127.0.0.1:8001")]), None),
            (with(&[("admin.listen", "127.0.0.1:8000")]), Some((Status::Failure, "admin.listen"))),
            (changed(|config| config.engine.running = 300), Some((Status::Failure, "engine.running"))),
            (changed(|config| config.engine.context = 1024), Some((Status::Warning, "chat.prompt_tokens"))),
            (
                changed(|config| {
                    config.keys.file = Some("keys.toml".into());
                    config.stream.memory_per_key_mib = 65;
                }),
                Some((Status::Warning, "stream.memory_per_key_mib")),
            ),
        ];
        for (config, expected) in cases {
            let found = contradictions(&config);
            let found = found.iter().map(|finding| (finding.status, finding.says.as_str())).next();
            match (found, expected) {
                (None, None) => {}
                (Some((status, says)), Some((wanted, part))) => {
                    assert!(status == wanted && says.contains(part), "{says}");
                }
                (found, expected) => panic!("{found:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn where_it_was_read_from_is_said_and_no_value_of_it() {
        let secret = ("LEAFRESH_RETRIEVAL__API_KEY".to_owned(), "very-secret".to_owned());
        let sources = Sources {
            file: Some("a.toml".into()),
            environment: vec![secret, ("HOME".into(), "/root".into())],
            flags: Flags(vec![("--listen", "server.listen", "127.0.0.1:1".into())]),
            ..Sources::default()
        };
        assert_eq!(read(&sources), "a.toml, 1 variable of the environment, --listen");
    }
}
