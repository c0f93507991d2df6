//! Limits on what the process may have.

use leafresh_engine::gguf;
use leafresh_engine::memory::bytes_as;
use leafresh_server::DESCRIPTORS_KEPT;
use leafresh_server::config::Config;
use rustix::process::{Resource, getrlimit};

use super::finding::Finding;

const CHECK: &str = "limits";

/// Connections that a small site may need at once.
const ENOUGH: u64 = 1000;

pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let mut findings = vec![descriptors(getrlimit(Resource::Nofile).maximum, config.server.connections)];
    if config.engine.mlock {
        let model = config.model.file().ok().and_then(|file| gguf::check(&file).ok());
        let locked = getrlimit(Resource::Memlock).current;
        findings.extend(model.map(|header| memlock(locked, header.tensor_bytes)));
    }
    findings
}

/// `most`: the hard limit, which the server takes for itself; None is no limit. `wanted`: `server.connections`.
fn descriptors(most: Option<u64>, wanted: Option<usize>) -> Finding {
    let Some(most) = most else { return Finding::ok(CHECK, "any number of open files") };
    let connections = most.saturating_sub(DESCRIPTORS_KEPT as u64);
    let says = format!("{most} open files, for {connections} connections");
    let advice = "raise it for the user or the service (systemd: LimitNOFILE=65536)";
    if connections == 0 {
        return Finding::failure(CHECK, says, advice);
    }
    if let Some(wanted) = wanted.filter(|&wanted| wanted as u64 > connections) {
        let says = format!("{says}, fewer than server.connections = {wanted}");
        return Finding::warning(CHECK, says, advice);
    }
    if connections < ENOUGH && wanted.is_none() {
        let advice = format!("{advice}; or set server.connections, if that is enough");
        return Finding::warning(CHECK, says, advice);
    }
    Finding::ok(CHECK, says)
}

/// `most`: bytes that may be locked; None is no limit.
fn memlock(most: Option<u64>, weights: u64) -> Finding {
    match most {
        Some(most) if most < weights => {
            let says = format!(
                "engine.mlock is set, but only {} may be locked, and the weights are {}",
                bytes_as(most),
                bytes_as(weights)
            );
            let advice =
                "raise the limit (`ulimit -l`, systemd: LimitMEMLOCK=infinity), or set engine.mlock = false";
            Finding::warning(CHECK, says, advice)
        }
        _ => Finding::ok(CHECK, "enough memory may be locked"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    #[test]
    fn open_files_have_to_do_for_the_connections() {
        let cases = [
            (None, None, Status::Ok),
            (Some(65536), None, Status::Ok),
            (Some(1024), None, Status::Warning),
            (Some(1024), Some(500), Status::Ok),
            (Some(1024), Some(2000), Status::Warning),
            (Some(100), Some(1), Status::Failure),
        ];
        for (most, wanted, status) in cases {
            let finding = descriptors(most, wanted);
            assert_eq!(finding.status, status, "{finding:?}");
        }
        assert!(descriptors(Some(1128), None).says.contains("for 1000 connections"));
    }

    #[test]
    fn weights_that_are_to_be_locked_have_to_fit_the_limit() {
        assert_eq!(memlock(None, 1 << 40).status, Status::Ok);
        assert_eq!(memlock(Some(1 << 20), 1 << 20).status, Status::Ok);
        assert_eq!(memlock(Some(1 << 16), 1 << 20).status, Status::Warning);
    }
}
