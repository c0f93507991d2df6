//! What of the processor is used, and what isn't.

use leafresh_engine::{InstructionSets, OwnKernels, instruction_sets, own_kernels};
use leafresh_server::config::Config;

use super::finding::Finding;

const CHECK: &str = "processor";

/// What a build for this very processor is made with.
const BUILD: &str = "RUSTFLAGS=\"-C target-cpu=native\" make build";

pub(super) fn finding(config: &Config) -> Finding {
    judge(&Seen {
        sets: instruction_sets().map_err(|error| error.to_string()),
        kernels: own_kernels(),
        x86: cfg!(target_arch = "x86_64"),
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        threads: config.engine.threads,
        attention: config.engine.attention_over_own_cells,
        matmul: config.engine.products_of_bytes,
    })
}

struct Seen {
    /// What llama.cpp was built for, or what of it this processor lacks.
    sets: Result<InstructionSets, String>,
    kernels: OwnKernels,
    x86: bool,
    /// Cores that this process may use.
    cores: usize,
    /// `engine.threads`.
    threads: Option<usize>,
    /// Whether the settings want our own kernels.
    attention: bool,
    matmul: bool,
}

fn judge(seen: &Seen) -> Finding {
    let sets = match &seen.sets {
        Ok(sets) => sets,
        Err(reason) => {
            let advice = "build on this machine, or let the virtual machine pass on its host's processor";
            return Finding::failure(CHECK, reason, advice).run(BUILD);
        }
    };
    let cores = super::finding::plural(seen.cores, "core");
    let says = format!("{cores}; {sets}; {}", kernels(seen));
    if let Some(threads) = seen.threads.filter(|&threads| threads > seen.cores) {
        let says = format!(
            "engine.threads is {threads}, but this process may use {cores} only: they wait for each other"
        );
        let advice = "leave engine.threads out, or allow more cores (a container's limit, taskset)";
        return Finding::warning(CHECK, says, advice);
    }
    if sets.amx {
        let advice = "build without AMX, which `make` takes care of";
        return Finding::warning(CHECK, says, advice).run("make build");
    }
    if seen.x86 && !seen.kernels.attention {
        let advice = "answers will be slow here: take a processor with AVX2, let the virtual machine pass on its host's, or \
                      choose a smaller model";
        return Finding::warning(CHECK, says, advice);
    }
    Finding::ok(CHECK, says)
}

/// What the kernels of our own will do.
fn kernels(seen: &Seen) -> String {
    let state = |possible: bool, wanted: bool, needs: &str| match (possible, wanted) {
        (true, true) => "usable".to_owned(),
        (true, false) => "turned off".to_owned(),
        (false, _) => format!("not for this processor (it needs {needs})"),
    };
    let attention = state(seen.kernels.attention, seen.attention, "AVX2, FMA and F16C");
    let matmul = state(seen.kernels.matmul, seen.matmul, "AVX-512 VNNI");
    format!("our own attention {attention}, our own matmul {matmul}")
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    fn seen() -> Seen {
        let sets = InstructionSets { used: vec!["AVX2"], unused: vec!["AVX-512"], amx: false };
        Seen {
            sets: Ok(sets),
            kernels: OwnKernels { attention: true, matmul: true },
            x86: true,
            cores: 2,
            threads: Some(2),
            attention: true,
            matmul: true,
        }
    }

    #[test]
    fn what_is_used_is_said_and_what_makes_it_slow_is_a_warning() {
        let amx = InstructionSets { used: Vec::new(), unused: Vec::new(), amx: true };
        let without = |attention, matmul| OwnKernels { attention, matmul };
        let cases = [
            (seen(), Status::Ok, "2 cores; AVX2 in use; this processor also has AVX-512"),
            (
                Seen { matmul: false, ..seen() },
                Status::Ok,
                "our own attention usable, our own matmul turned off",
            ),
            (Seen { kernels: without(true, false), ..seen() }, Status::Ok, "it needs AVX-512 VNNI"),
            (Seen { kernels: without(false, false), ..seen() }, Status::Warning, "it needs AVX2"),
            (Seen { kernels: without(false, false), x86: false, ..seen() }, Status::Ok, "it needs AVX2"),
            (Seen { sets: Ok(amx), ..seen() }, Status::Warning, "AMX"),
            (Seen { threads: Some(3), ..seen() }, Status::Warning, "engine.threads is 3"),
            (Seen { sets: Err("this build uses AVX2".into()), ..seen() }, Status::Failure, "uses AVX2"),
        ];
        for (seen, status, part) in cases {
            let finding = judge(&seen);
            assert!(finding.status == status && finding.says.contains(part), "{finding:?}");
        }
    }
}
