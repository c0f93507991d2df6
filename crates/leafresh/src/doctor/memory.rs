//! Whether the model fits, and who holds what it needs.

use leafresh_engine::gguf::Header;
use leafresh_engine::memory::{self, Available, Plan, bytes_as};
use leafresh_server::config::Config;

use super::finding::Finding;
use super::proc::{self, Process};

const CHECK: &str = "memory";

/// Holders that are named.
const NAMED: usize = 3;

/// Less than this isn't worth a name, in bytes.
const WORTH_NAMING: u64 = 64 << 20;

/// How close to the limit is too close: what is free changes by more.
const MARGIN: u64 = 256 << 20;

pub(super) fn finding(config: &Config, header: &Header) -> Finding {
    let planned = Available::here().and_then(|available| {
        // Whether it fits is for the judgement: without a limit the plan says what is needed.
        let mut unlimited = available.clone();
        unlimited.memory.bytes = u64::MAX;
        let needed = memory::plan(header, &config.engine, &unlimited)?.host.needed();
        let free = available.memory.bytes;
        Ok((memory::plan(header, &config.engine, &available), needed, free))
    });
    match planned {
        Ok((plan, needed, free)) => judge(&Room {
            plan: plan.map_err(|error| error.to_string()),
            needed,
            free,
            holders: proc::largest(),
        }),
        Err(error) => Finding::failure(CHECK, error.to_string(), "change the setting that is named"),
    }
}

struct Room {
    /// The plan, or why the model doesn't fit and what would make it fit.
    plan: Result<Plan, String>,
    needed: u64,
    free: u64,
    /// Those that hold most first, each with bytes.
    holders: Vec<(Process, u64)>,
}

fn judge(room: &Room) -> Finding {
    let Room { plan, needed, free, holders } = room;
    let held = |holders: &[&(Process, u64)]| {
        let parts: Vec<_> =
            holders.iter().map(|(process, bytes)| format!("{process} {}", bytes_as(*bytes))).collect();
        parts.join(", ")
    };
    let most: Vec<_> = holders.iter().filter(|(_, bytes)| *bytes >= WORTH_NAMING).take(NAMED).collect();
    let holders_say =
        if most.is_empty() { String::new() } else { format!(". Held by others: {}", held(&most)) };
    match plan {
        Ok(plan) if *free < needed.saturating_add(MARGIN) && plan.gpus.is_empty() => {
            let says = format!(
                "the model needs {} of {} that are free ({}){holders_say}",
                bytes_as(*needed),
                bytes_as(*free),
                plan.host.limited_by
            );
            let advice = "it fits by a hair: end what isn't needed, or set engine.context lower";
            Finding::warning(CHECK, says, advice)
        }
        Ok(plan) => {
            let mut says = plan.to_string();
            for note in &plan.notes {
                says.extend(["; ", note]);
            }
            Finding::ok(CHECK, says)
        }
        Err(reason) => {
            let ours: Vec<_> = holders.iter().filter(|(process, _)| process.is_ours()).collect();
            let given_back: u64 = ours.iter().map(|(_, bytes)| bytes).sum();
            if !ours.is_empty() && free.saturating_add(given_back) >= *needed {
                let says = format!(
                    "a Leafresh that runs holds the memory ({}); the model doesn't fit a second time beside it",
                    held(&ours)
                );
                return Finding::warning(CHECK, says, "stop that one before another is started");
            }
            Finding::failure(
                CHECK,
                format!("{reason}{holders_say}"),
                "make one of the changes that are named",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use leafresh_engine::KvType;
    use leafresh_engine::memory::Host;

    use super::super::finding::Status;
    use super::*;

    const GIB: u64 = 1 << 30;

    fn plan(free: u64) -> Plan {
        let host = Host {
            weights: GIB,
            adapters: 0,
            copied_weights: 0,
            weights_as_bytes: 0,
            kv: 0,
            output_rows: 0,
            scratch: 0,
            vocabulary: 0,
            process: 0,
            free,
            limited_by: "control group /x".into(),
        };
        Plan {
            host,
            gpus: Vec::new(),
            gpu_layers: 0,
            layers: 2,
            context: 256,
            kv_type: KvType::F16,
            kv_per_token: 1,
            notes: vec!["a note".into()],
        }
    }

    fn held(name: &str, bytes: u64) -> (Process, u64) {
        (Process { pid: 7, name: name.into() }, bytes)
    }

    #[test]
    fn memory_is_judged_by_the_plan_and_by_who_would_give_it_back() {
        let no_room = || Err("the model needs more; engine.context at most 512".to_owned());
        let room = |plan, free, holders| Room { plan, needed: GIB, free, holders };
        let cases = [
            (room(Ok(plan(8 * GIB)), 8 * GIB, Vec::new()), Status::Ok, "a note"),
            (
                room(Ok(plan(GIB + 1)), GIB + 1, vec![held("java", GIB), held("small", 9)]),
                Status::Warning,
                "control group /x). Held by others: java (process 7) 1.0 GiB",
            ),
            (
                room(no_room(), GIB / 2, vec![held("java", 2 * GIB)]),
                Status::Failure,
                "engine.context at most 512. Held by others: java",
            ),
            (room(no_room(), GIB / 2, vec![held("leafresh", GIB)]), Status::Warning, "a second time"),
            (room(no_room(), GIB / 4, vec![held("leafresh", GIB / 4)]), Status::Failure, "needs more"),
        ];
        for (room, status, part) in cases {
            let finding = judge(&room);
            assert!(finding.status == status && finding.says.contains(part), "{finding:?}");
        }
    }
}
