//! Kernels that this machine hasn't: what they answer is put in the way of its own.

use std::io::ErrorKind;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// From now on this thread, and what it starts, gets this error from a system call; where `argument` says so, only with this
/// value in that place.
pub(crate) fn fails(call: libc::c_long, argument: Option<(u8, u64)>, errno: libc::c_int) {
    let equal = |(place, value)| {
        let condition = SeccompCondition::new(place, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value);
        SeccompRule::new(vec![condition.unwrap()]).unwrap()
    };
    let rules = std::iter::once((call, argument.map(equal).into_iter().collect())).collect();
    let answer = SeccompAction::Errno(errno as u32);
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, answer, arch).unwrap();
    seccompiler::apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
}

/// Of the system calls that have one of these names here, all are allowed and no others.
pub(crate) fn allows_only(names: &[String]) {
    let filter = |names: &[&String]| {
        let rules: Vec<_> = names.iter().map(|name| serde_json::json!({ "syscall": name })).collect();
        let json = serde_json::json!({ "all": {
            "mismatch_action": { "errno": libc::EPERM },
            "match_action": "allow",
            "filter": rules,
        } });
        let arch = std::env::consts::ARCH.try_into().unwrap();
        seccompiler::compile_from_json(json.to_string().as_bytes(), arch)
    };
    // Names of other processors' calls mean nothing here.
    let known: Vec<_> = names.iter().filter(|name| filter(&[name]).is_ok()).collect();
    assert!(known.len() > 100, "{names:?}");
    seccompiler::apply_filter(&filter(&known).unwrap()["all"]).unwrap();
}

/// Whether this kernel's Landlock does anything, tried on a thread of its own.
pub(crate) fn has_landlock() -> bool {
    use landlock::{AccessFs, Ruleset, RulesetAttr, RulesetStatus};

    let tried = || Ruleset::default().handle_access(AccessFs::Execute)?.create()?.restrict_self();
    let status = std::thread::spawn(tried).join().unwrap();
    status.is_ok_and(|status| status.ruleset != RulesetStatus::NotEnforced)
}

#[test]
fn what_is_put_in_the_way_of_a_call_is_what_is_heard() {
    let tried = std::thread::spawn(|| {
        fails(libc::SYS_mkdirat, None, libc::EROFS);
        #[cfg(target_arch = "x86_64")]
        fails(libc::SYS_mkdir, None, libc::EROFS);
        std::fs::create_dir(std::env::temp_dir().join("leafresh-never")).map_err(|error| error.kind())
    });
    assert_eq!(tried.join().unwrap(), Err(ErrorKind::ReadOnlyFilesystem));
}
