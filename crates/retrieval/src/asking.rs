//! Questions on their way to the embedding model: a bounded queue and a thread of its own, apart from those that read and
//! write files. Who has gone by the time that it is their turn costs nothing.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};

use leafresh_engine::{Embedder, Embedding};
use tokio::sync::oneshot;

use crate::Error;
use crate::vector::{QUERY, embed_as};

/// Requests that may wait.
const WAITING: usize = 64;

struct Asked {
    texts: Vec<String>,
    reply: oneshot::Sender<Result<Vec<Embedding>, Error>>,
}

/// The thread begins with the first question, and ends with the last clone of this.
pub(crate) struct Questions {
    pub(crate) embedder: Arc<dyn Embedder>,
    queue: OnceLock<SyncSender<Asked>>,
}

impl Questions {
    pub(crate) fn new(embedder: Arc<dyn Embedder>) -> Self {
        Self { embedder, queue: OnceLock::new() }
    }

    /// What the model makes of questions. Dropped before it is their turn they are not embedded.
    pub(crate) async fn embed(&self, texts: Vec<String>) -> Result<Vec<Embedding>, Error> {
        let (reply, answer) = oneshot::channel();
        let queue = match self.queue.get() {
            Some(queue) => queue,
            None => {
                let queue = start(self.embedder.clone())?;
                self.queue.get_or_init(|| queue)
            }
        };
        match queue.try_send(Asked { texts, reply }) {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(gone())),
            Err(TrySendError::Full(_)) => Err(Error::Busy),
            Err(TrySendError::Disconnected(_)) => Err(gone()),
        }
    }
}

fn gone() -> Error {
    Error::Store("the embedding model's thread failed".into())
}

fn start(embedder: Arc<dyn Embedder>) -> Result<SyncSender<Asked>, Error> {
    let (queue, asked) = sync_channel(WAITING);
    let thread = std::thread::Builder::new().name("embedder".into());
    thread
        .spawn(move || answer(&asked, &*embedder))
        .map_err(|error| Error::Store(format!("there is no thread for the embedding model: {error}")))?;
    Ok(queue)
}

fn answer(asked: &Receiver<Asked>, embedder: &dyn Embedder) {
    while let Ok(Asked { texts, reply }) = asked.recv() {
        if !reply.is_closed() {
            let _ = reply.send(embed_as(embedder, QUERY, texts.iter().map(String::as_str)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use leafresh_engine::EmbedderInfo;
    use leafresh_engine::fake::FakeEmbedder;

    use super::*;

    /// Embeds nothing while it is held, and notes what it was given.
    struct Held {
        model: FakeEmbedder,
        gate: Arc<Mutex<()>>,
        seen: Arc<Mutex<Vec<String>>>,
    }

    impl Embedder for Held {
        fn embed(&self, texts: &[&str]) -> Result<Vec<Embedding>, leafresh_engine::Error> {
            self.seen.lock().unwrap().extend(texts.iter().map(|&text| text.to_owned()));
            let _open = self.gate.lock().unwrap();
            self.model.embed(texts)
        }

        fn count_tokens(&self, text: &str) -> usize {
            self.model.count_tokens(text)
        }

        fn info(&self) -> &EmbedderInfo {
            self.model.info()
        }
    }

    async fn is_pending<T>(future: &mut (impl Future<Output = T> + Unpin)) -> bool {
        let mut future = std::pin::Pin::new(future);
        std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_pending()))
            .await
    }

    /// Field report 42.
    #[tokio::test]
    #[allow(clippy::await_holding_lock, reason = "the thread that waits for it is not this one")]
    async fn whoever_has_gone_is_not_embedded_and_a_full_queue_is_an_answer() {
        let (gate, seen) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(Vec::new())));
        let model = FakeEmbedder::new(8);
        let questions = Questions::new(Arc::new(Held { model, gate: gate.clone(), seen: seen.clone() }));
        let closed = gate.lock().unwrap();
        let ask = |text: &str| Box::pin(questions.embed(vec![text.to_owned()]));
        let mut first = ask("first");
        assert!(is_pending(&mut first).await);
        while seen.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let mut waiting: Vec<_> = (0..WAITING).map(|_| ask("gone")).collect();
        for question in &mut waiting {
            assert!(is_pending(question).await);
        }
        assert!(matches!(ask("too many").await, Err(Error::Busy)));
        drop(waiting);
        drop(closed);
        assert_eq!(first.await.unwrap().len(), 1);
        // Taken only when those before it are through.
        while matches!(ask("last").await, Err(Error::Busy)) {
            tokio::task::yield_now().await;
        }
        assert_eq!(*seen.lock().unwrap(), ["query: first", "query: last"]);
    }
}
