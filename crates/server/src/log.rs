//! The log's way to stderr: through a bounded queue and a thread of its own. Whoever logs never waits for who reads stderr.
//!
//! `line` is what is written for each request, `json` the form for machines, `words` what of people's words may be told.

mod json;
pub(crate) mod line;
mod words;

pub(crate) use json::Flat;
pub(crate) use words::words;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait.
const WAITING: usize = 4096;

/// How long the end of the program waits for the last lines.
const LAST_LINES: Duration = Duration::from_millis(500);

/// Of this process's log.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines that nobody took in time.
pub(crate) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

enum Item {
    Line(Vec<u8>),
    /// Answered when all before it is written.
    Flush(SyncSender<()>),
}

/// Where lines go in.
#[derive(Clone)]
pub(crate) struct Queue {
    items: SyncSender<Item>,
    dropped: Arc<dyn Fn() + Send + Sync>,
}

/// Writes what waits, for a moment, when it is dropped: at the end of the program.
#[must_use = "the last lines are written when it is dropped"]
pub struct Logging(Queue);

impl std::fmt::Debug for Logging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logging").finish_non_exhaustive()
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        let (done, written) = sync_channel(1);
        if self.0.items.try_send(Item::Flush(done)).is_ok() {
            // Nobody reads: then these lines are lost.
            let _ = written.recv_timeout(LAST_LINES);
        }
    }
}

/// The way to stderr.
pub(crate) fn to_stderr() -> io::Result<(Queue, Logging)> {
    let count = || _ = DROPPED.fetch_add(1, Ordering::Relaxed);
    let queue = queue(WAITING, io::stderr(), Arc::new(count))?;
    Ok((queue.clone(), Logging(queue)))
}

fn queue(
    waiting: usize,
    to: impl Write + Send + 'static,
    dropped: Arc<dyn Fn() + Send + Sync>,
) -> io::Result<Queue> {
    let (items, lines) = sync_channel(waiting);
    std::thread::Builder::new().name("log".into()).spawn(move || write(&lines, to))?;
    Ok(Queue { items, dropped })
}

fn write(items: &Receiver<Item>, mut to: impl Write) {
    while let Ok(item) = items.recv() {
        match item {
            // A closed stderr is no reason to stop.
            Item::Line(line) => _ = to.write_all(&line),
            Item::Flush(done) => {
                let _ = to.flush();
                let _ = done.try_send(());
            }
        }
    }
}

impl Write for Queue {
    /// One call is one line: tracing's subscriber writes them whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.items.try_send(Item::Line(line.to_vec())) {
            (self.dropped)();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use super::*;

    /// A pipe that nobody reads while it is held.
    #[derive(Clone, Default)]
    pub(crate) struct Pipe(Arc<Mutex<Vec<u8>>>);

    impl Pipe {
        /// What this thread logs goes into it while the guard lives.
        pub(crate) fn of_this_thread() -> (Self, tracing::subscriber::DefaultGuard) {
            let pipe = Self::default();
            let writer = pipe.clone();
            let writer = move || writer.clone();
            let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish();
            (pipe, tracing::subscriber::set_default(subscriber))
        }

        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.held().clone()).unwrap()
        }

        fn held(&self) -> MutexGuard<'_, Vec<u8>> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.held().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Field report 6.
    #[test]
    fn whoever_logs_goes_on_while_nobody_reads_and_what_is_lost_is_counted() {
        let (pipe, lost) = (Pipe::default(), Arc::new(AtomicU64::new(0)));
        let count = lost.clone();
        let count = move || _ = count.fetch_add(1, Ordering::Relaxed);
        let mut queue = queue(3, pipe.clone(), Arc::new(count)).unwrap();
        let unread = pipe.held();
        for _ in 0..10 {
            queue.write_all(b"line\n").unwrap();
        }
        let lost = lost.load(Ordering::Relaxed);
        // One may be in the thread's hands.
        assert!((6..=7).contains(&lost), "{lost}");
        drop(unread);
        // There is room for this as soon as the thread has taken one.
        while pipe.held().is_empty() {
            std::thread::yield_now();
        }
        drop(Logging(queue));
        assert_eq!(pipe.held().len() as u64, 5 * (10 - lost));
    }
}
