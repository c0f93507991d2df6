//! Who asks when.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::clients::{Asker, Record};
use super::machine::{Sample, Watch};
use super::questions::Questions;

/// How often memory and CPU time are read during a run.
const SAMPLING: Duration = Duration::from_secs(1);

/// One run.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Load {
    /// Clients that ask again when they have their answer, until `total` requests were asked.
    Closed { clients: usize, total: usize },
    /// Requests come at times of their own.
    Open { rate: f64, seconds: f64, seed: u64 },
}

impl Load {
    pub(super) fn label(&self) -> String {
        match self {
            Self::Closed { clients: 1, .. } => "1 client".into(),
            Self::Closed { clients, .. } => format!("{clients} clients"),
            Self::Open { rate, .. } => format!("{rate}/s"),
        }
    }
}

/// What a run gave.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) records: Vec<Record>,
    pub(super) samples: Vec<Sample>,
    /// Requests that were running when Ctrl-C came. They are in no figure.
    pub(super) interrupted: Option<usize>,
}

/// What every run shares.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) asker: Asker,
    pub(super) questions: Questions,
    /// Who is to write, one after the other; none: whoever does.
    pub(super) adapters: Vec<String>,
    /// Index of the next question: runs go on where the one before ended.
    pub(super) next: AtomicUsize,
    pub(super) watch: Watch,
}

impl Bench {
    /// Asks as `load` says and reports each record and each second to `progress`. Ends early when `stop` does.
    pub(super) async fn run(
        self: &Arc<Self>,
        load: &Load,
        stop: impl Future<Output = ()>,
        mut progress: impl FnMut(&Run, f64),
    ) -> Run {
        let (records, mut received) = mpsc::unbounded_channel();
        let mut run = Run { samples: vec![self.watch.sample(0.0, 0)], ..Run::default() };
        let origin = Instant::now();
        let running = Arc::new(AtomicUsize::new(0));
        let user = VirtualUser { bench: self.clone(), records, running: running.clone(), origin };
        // Dropping the set ends whatever still runs.
        let tasks = start(user, load);
        let mut ticks = interval(SAMPLING);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await; // The first one comes at once, and its sample is taken.
        tokio::pin!(stop);
        loop {
            tokio::select! {
                record = received.recv() => match record {
                    Some(record) => run.records.push(record),
                    None => break,
                },
                _ = ticks.tick() => {
                    run.samples.push(self.watch.sample(origin.elapsed().as_secs_f64(), run.records.len()));
                    progress(&run, origin.elapsed().as_secs_f64());
                }
                () = &mut stop => {
                    run.interrupted = Some(running.load(Ordering::Relaxed));
                    break;
                }
            }
        }
        drop(tasks);
        run.samples.push(self.watch.sample(origin.elapsed().as_secs_f64(), run.records.len()));
        progress(&run, origin.elapsed().as_secs_f64());
        run.records.sort_by(|a, b| a.due.total_cmp(&b.due));
        run
    }
}

fn start(user: VirtualUser, load: &Load) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    match *load {
        Load::Closed { clients, total } => {
            let asked = Arc::new(AtomicUsize::new(0));
            for _ in 0..clients.min(total) {
                let (user, asked) = (user.clone(), asked.clone());
                tasks.spawn(async move {
                    while asked.fetch_add(1, Ordering::Relaxed) < total {
                        user.ask(None).await;
                    }
                });
            }
        }
        Load::Open { rate, seconds, seed } => {
            tasks.spawn(async move {
                // Here, so that they end with the task that starts them.
                let mut asking = JoinSet::new();
                for due in arrivals(rate, seconds, seed) {
                    let due_at = Duration::from_secs_f64(due);
                    sleep(due_at.saturating_sub(user.origin.elapsed())).await;
                    let user = user.clone();
                    asking.spawn(async move { user.ask(Some(due)).await });
                }
                drop(user);
                while asking.join_next().await.is_some() {}
            });
        }
    }
    tasks
}

#[derive(Clone)]
struct VirtualUser {
    bench: Arc<Bench>,
    records: mpsc::UnboundedSender<Record>,
    running: Arc<AtomicUsize>,
    origin: Instant,
}

impl VirtualUser {
    async fn ask(&self, due: Option<f64>) {
        let number = self.bench.next.fetch_add(1, Ordering::Relaxed);
        let mut question = self.bench.questions.get(number);
        if let Some(adapter) = self.bench.adapters.get(number % self.bench.adapters.len().max(1)) {
            question.adapter.clone_from(adapter);
        }
        self.running.fetch_add(1, Ordering::Relaxed);
        let record = self.bench.asker.ask(&question, self.origin, due).await;
        self.running.fetch_sub(1, Ordering::Relaxed);
        // Nobody listens after Ctrl-C.
        let _ = self.records.send(record);
    }
}

/// Seconds at which requests of a Poisson process arrive: gaps are exponential, `rate` each second on average.
pub(super) fn arrivals(rate: f64, seconds: f64, seed: u64) -> impl Iterator<Item = f64> + Send {
    let mut rng = StdRng::seed_from_u64(seed);
    let times = std::iter::successors(Some(0.0), move |time| {
        let uniform: f64 = rng.random();
        Some(time - (1.0 - uniform).ln() / rate)
    });
    times.skip(1).take_while(move |time| *time < seconds)
}

/// How many requests ran at once, `(seconds, count)` at each change. For the report's plot.
pub(super) fn concurrency(records: &[Record]) -> Vec<(f64, usize)> {
    // The bits of a time that isn't negative sort as it does.
    let mut changes: BTreeMap<u64, isize> = BTreeMap::new();
    for record in records {
        *changes.entry(record.sent.max(0.0).to_bits()).or_default() += 1;
        *changes.entry(record.end.max(0.0).to_bits()).or_default() -= 1;
    }
    let mut now = 0isize;
    let count = |(time, change): (u64, isize)| {
        now += change;
        (f64::from_bits(time), now.max(0) as usize)
    };
    changes.into_iter().map(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arrivals_come_in_order_at_the_rate_asked_for_with_exponential_gaps(seed: u64, rate in 0.5..50.0f64) {
            let seconds = 4000.0 / rate;
            let times: Vec<f64> = arrivals(rate, seconds, seed).collect();
            prop_assert!(times.is_sorted());
            prop_assert!(times.iter().all(|time| (0.0..seconds).contains(time)));
            // 4,000 expected, standard deviation 63: six of them on either side.
            prop_assert!((3620..=4380).contains(&times.len()), "{}", times.len());
            // Of an exponential distribution a share of 1/e is longer than the mean.
            let long = times.windows(2).filter(|pair| pair[1] - pair[0] > 1.0 / rate).count();
            let share = long as f64 / times.len() as f64;
            prop_assert!((0.31..0.43).contains(&share), "{share}");
            prop_assert_eq!(&times, &arrivals(rate, seconds, seed).collect::<Vec<_>>());
        }
    }
}
