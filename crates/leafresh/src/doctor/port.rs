//! The addresses that the server listens on: whether they can be had, and who has them.

use std::io::{self, ErrorKind};
use std::net::{TcpListener, ToSocketAddrs};

use leafresh_server::config::{Config, Listen};

use super::finding::Finding;
use super::proc::{self, Process};

const CHECK: &str = "port";

pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let main = finding(&config.server.listen, "--listen or server.listen");
    let admin = config.admin.listen.as_ref().map(|listen| finding(listen, "admin.listen"));
    std::iter::once(main).chain(admin).collect()
}

fn finding(listen: &Listen, setting: &str) -> Finding {
    let address = listen.as_str();
    // For a moment it is taken, as the server would: nobody can have connected before it is given back.
    let bound = TcpListener::bind(address).map(drop);
    let port = address.to_socket_addrs().ok().and_then(|mut found| found.next()).map(|found| found.port());
    let holders = match &bound {
        Err(error) if error.kind() == ErrorKind::AddrInUse => port.map(proc::listening).unwrap_or_default(),
        _ => Vec::new(),
    };
    judge(address, setting, &bound, &holders)
}

fn judge(address: &str, setting: &str, bound: &io::Result<()>, holders: &[Process]) -> Finding {
    let error = match bound {
        Ok(()) => return Finding::ok(CHECK, format!("{address} can be listened on")),
        Err(error) => error,
    };
    let another = format!("name another one with {setting}");
    match error.kind() {
        ErrorKind::AddrInUse if !holders.is_empty() && holders.iter().all(Process::is_ours) => {
            let says = format!("{} listens on {address} already", proc::list(holders));
            let advice = format!("that server needs nothing; a second one needs another address: {another}");
            Finding::warning(CHECK, says, advice)
        }
        ErrorKind::AddrInUse => {
            let says = format!("{address} is taken by {}", proc::list(holders));
            let finding = Finding::failure(CHECK, says, format!("stop that program, or {another}"));
            match holders {
                [one] => finding.run(format!("kill {}", one.pid)),
                _ => finding,
            }
        }
        ErrorKind::PermissionDenied => {
            let says = format!("{address}: {error}; ports below 1024 need privileges");
            let advice =
                format!("{another}, or grant it (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE)");
            Finding::failure(CHECK, says, advice)
        }
        ErrorKind::AddrNotAvailable => {
            let says = format!("{address}: no network interface of this machine has that address");
            Finding::failure(CHECK, says, format!("0.0.0.0 stands for all of them: {another}"))
        }
        _ => Finding::failure(CHECK, format!("{address}: {error}"), another),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    #[test]
    fn why_an_address_can_not_be_had_is_told_apart() {
        let process = |pid, name: &str| Process { pid, name: name.into() };
        let refused = |kind: ErrorKind| Err(io::Error::from(kind));
        let cases = [
            (Ok(()), Vec::new(), Status::Ok, "can be listened on"),
            (refused(ErrorKind::AddrInUse), vec![process(7, "nginx")], Status::Failure, "nginx (process 7)"),
            (refused(ErrorKind::AddrInUse), Vec::new(), Status::Failure, "can't be seen"),
            (refused(ErrorKind::AddrInUse), vec![process(7, "leafresh")], Status::Warning, "already"),
            (refused(ErrorKind::PermissionDenied), Vec::new(), Status::Failure, "privileges"),
            (refused(ErrorKind::AddrNotAvailable), Vec::new(), Status::Failure, "no network interface"),
            (refused(ErrorKind::InvalidInput), Vec::new(), Status::Failure, "1.2.3.4:80"),
        ];
        for (bound, holders, status, part) in cases {
            let finding = judge("1.2.3.4:80", "--listen", &bound, &holders);
            assert!(finding.status == status && finding.says.contains(part), "{finding:?}");
            assert_eq!(finding.command.is_some(), part.contains("nginx"));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_looking_process_itself_is_not_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(proc::listening(listener.local_addr().unwrap().port()).is_empty());
    }
}
