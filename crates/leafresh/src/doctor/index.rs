//! The index of documents: in a folder, or on a Qdrant server.

use leafresh_chat::Catalog;
use leafresh_engine::EmbedderInfo;
use leafresh_retrieval::{Contents, Error, Examined, Location};
use leafresh_server::assemble;
use leafresh_server::config::Config;

use super::finding::Finding;
use super::proc::{self, Lock, Process};
use crate::shell::quoted;

const CHECK: &str = "index";
const SERVER: &str = "qdrant";

/// The oldest release of Qdrant that keeps what a collection was made for.
const OLDEST: (u32, u32) = (1, 16);

/// `model`: the embedding model, if one can be used; `catalog`, if it can.
pub(super) async fn findings(
    config: &Config,
    model: Option<&EmbedderInfo>,
    catalog: Option<&Catalog>,
) -> Vec<Finding> {
    let location = match assemble::location(config) {
        Ok(location) => location,
        Err(error) => {
            return vec![Finding::failure(CHECK, error.to_string(), "name a folder with --data or data.dir")];
        }
    };
    let documents = catalog.map(Catalog::documents).unwrap_or_default();
    let examined = leafresh_retrieval::examine(&location, model, documents).await;
    let holder = match &location {
        Location::Folder(folder) => {
            let locks = proc::locks(&folder.join("lock")).into_iter();
            locks.filter(|lock| lock.exclusive).map(Lock::process).next()
        }
        Location::Server(_) => None,
    };
    let mut findings = match &location {
        Location::Folder(_) => Vec::new(),
        Location::Server(server) => vec![about_server(&server.url, &examined)],
    };
    // A server that can't be reached is said once.
    if findings.is_empty() || !matches!(examined, Err(Error::Store(_))) {
        findings.push(judge(&location, &examined, holder.as_ref(), model.is_some()));
    }
    findings
}

fn about_server(url: &str, examined: &Result<Examined, Error>) -> Finding {
    let version = match examined {
        Err(error @ Error::Store(_)) => {
            let advice =
                "start it, or correct retrieval.url; without retrieval.url the index lies in a folder";
            return Finding::failure(SERVER, error.to_string(), advice);
        }
        Ok(Examined { version: Some(version), .. }) => version,
        // It answered, with something that is judged as the index.
        _ => return Finding::ok(SERVER, format!("{url} answers")),
    };
    let number = |part: Option<&str>| part.and_then(|part| part.parse::<u32>().ok());
    let mut parts = version.trim_start_matches('v').split('.');
    match (number(parts.next()), number(parts.next())) {
        (Some(major), Some(minor)) if (major, minor) < OLDEST => {
            let says = format!("{url} is Qdrant {version}; 1.16 or newer is needed");
            Finding::failure(SERVER, says, "bring the server up to date")
        }
        _ => Finding::ok(SERVER, format!("{url} is Qdrant {version}")),
    }
}

fn judge(
    location: &Location,
    examined: &Result<Examined, Error>,
    holder: Option<&Process>,
    has_model: bool,
) -> Finding {
    let held = holder.map(|holder| format!("; in use by {holder}")).unwrap_or_default();
    match examined {
        Ok(Examined { contents: None, .. }) if has_model => Finding::ok(
            CHECK,
            format!(
                "{location}: there is none yet; the server makes it at its first start, in two or three minutes"
            ),
        ),
        Ok(Examined { contents: None, .. }) => Finding::ok(
            CHECK,
            format!(
                "{location}: there is none, and without an embedding model none is made: the catalogue's documents do"
            ),
        ),
        Ok(Examined { contents: Some(contents), .. }) => {
            let Contents { documents, outdated } = contents;
            let late = match outdated {
                0 => String::new(),
                _ => {
                    format!(", {outdated} to be brought up to date with the catalogue when the server starts")
                }
            };
            Finding::ok(CHECK, format!("{location}: {documents} documents{late}{held}"))
        }
        Err(error @ Error::Mismatch(_)) => {
            let advice =
                "make it anew; your own files are named again then (`leafresh index --rebuild PATH…`)";
            Finding::failure(CHECK, format!("{error}{held}"), advice).run("leafresh index --rebuild")
        }
        Err(error @ Error::Io { path, .. }) => {
            let advice = "let this user read it, or name another folder with --data or data.dir";
            Finding::failure(CHECK, error.to_string(), advice).run(format!("chmod u+rwX {}", quoted(path)))
        }
        Err(error) => {
            let advice = "what was indexed is made anew from the files and the catalogue";
            Finding::failure(CHECK, format!("{error}{held}"), advice).run("leafresh index --rebuild")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    fn examined(contents: Option<(usize, usize)>) -> Examined {
        let contents = contents.map(|(documents, outdated)| Contents { documents, outdated });
        Examined { version: None, contents }
    }

    #[test]
    fn an_index_is_judged_by_what_it_was_made_for() {
        let place = Location::Folder("data/index".into());
        let io = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let cases = [
            (Ok(examined(None)), Status::Ok, "at its first start"),
            (Ok(examined(Some((480, 0)))), Status::Ok, "480 documents; in use by leafresh (process 7)"),
            (Ok(examined(Some((480, 3)))), Status::Ok, "3 to be brought up to date"),
            (Err(Error::Mismatch("made with 32 dimensions".into())), Status::Failure, "32 dimensions"),
            (Err(Error::Store("it is damaged".into())), Status::Failure, "damaged"),
            (Err(Error::Io { path: "a b".into(), source: io }), Status::Failure, "a b"),
        ];
        let holder = Process { pid: 7, name: "leafresh".into() };
        for (examined, status, part) in cases {
            let finding = judge(&place, &examined, Some(&holder), true);
            assert!(finding.status == status && finding.says.contains(part), "{finding:?}");
            assert_eq!(finding.command.is_some(), status == Status::Failure);
        }
        assert!(judge(&place, &Ok(examined(None)), None, false).says.contains("without an embedding model"));
    }

    #[test]
    fn a_server_has_to_be_reached_and_new_enough() {
        let version = |version: &str| Ok(Examined { version: Some(version.into()), contents: None });
        let cases = [
            (version("1.16.0"), Status::Ok, "Qdrant 1.16.0"),
            (version("v2.0"), Status::Ok, "Qdrant v2.0"),
            (version("1.9.7"), Status::Failure, "1.16 or newer"),
            (version("next"), Status::Ok, "Qdrant next"),
            (Err(Error::Store("the server at http://q:6334: refused".into())), Status::Failure, "refused"),
            (Err(Error::Mismatch("another model".into())), Status::Ok, "answers"),
        ];
        for (examined, status, part) in cases {
            let finding = about_server("http://q:6334", &examined);
            assert!(finding.status == status && finding.says.contains(part), "{finding:?}");
        }
    }
}
