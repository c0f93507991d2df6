//! What the kernel has of what the server would use, tried out.

use std::io;

use leafresh_engine::confinement;
use leafresh_server::config::Config;
use leafresh_server::try_options;

use super::finding::Finding;

const CHECK: &str = "kernel";

pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let mut findings = if config.engine.process {
        confined(confinement())
    } else {
        vec![Finding::ok(
            CHECK,
            "engine.process is off: the model computes in the server's process, unconfined",
        )]
    };
    findings.push(silent_peers(&try_options()));
    findings
}

/// What the engine's process is kept from; each with whether that works.
fn confined(notes: Vec<(bool, String)>) -> Vec<Finding> {
    let finding = |(works, text): (bool, String)| {
        if works {
            return Finding::ok(CHECK, text);
        }
        let advice = "it runs all the same. A newer kernel or another container runtime has it (seccomp; Landlock since \
                      Linux 5.13, `landlock` among lsm= of the kernel's command line); let the service use both";
        Finding::warning(CHECK, text, advice)
    };
    notes.into_iter().map(finding).collect()
}

/// Readers that vanished are told by the socket's options.
fn silent_peers(tried: &io::Result<()>) -> Finding {
    match tried {
        Ok(()) => Finding::ok(CHECK, "connections whose other side vanished end in time (TCP_USER_TIMEOUT)"),
        Err(error) => Finding::warning(
            CHECK,
            format!(
                "a socket can't be given its options ({error}): connections whose other side vanished stay open longer"
            ),
            "let a proxy with time limits of its own stand in front, or use a kernel that has TCP_USER_TIMEOUT",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    #[test]
    fn what_a_kernel_lacks_is_a_warning_with_what_would_have_it() {
        let found = confined(vec![(true, "no network".into()), (false, "not kept from other files".into())]);
        let statuses: Vec<_> = found.iter().map(|finding| finding.status).collect();
        assert_eq!(statuses, [Status::Ok, Status::Warning]);
        assert!(found[1].advice.as_ref().unwrap().contains("5.13"));
        assert_eq!(silent_peers(&Ok(())).status, Status::Ok);
        let refused = silent_peers(&Err(io::Error::from_raw_os_error(92)));
        assert!(refused.status == Status::Warning && refused.says.contains("stay open"), "{refused:?}");
    }
}
