//! Sessions while they are used: one request of a session at a time, and one update of it at its end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use leafresh_store::{Rated, Rating, Role, Session, SessionKey, SessionStore, Standing, Update};
use time::OffsetDateTime;
use tokio::runtime::Handle;
use tokio::sync::OwnedMutexGuard;
use tokio::task::spawn_blocking;

/// The stored sessions. Cheap to clone.
#[derive(Clone)]
pub struct Sessions(Arc<Shared>);

struct Shared {
    store: Arc<dyn SessionStore>,
    /// Sessions that a request uses or waits for.
    used: Mutex<HashMap<SessionKey, Weak<Used>>>,
    failures: AtomicU64,
}

#[derive(Debug, Default)]
struct Used {
    /// Held by the request whose turn it is; those that wait get it in the order in which they came.
    order: Arc<tokio::sync::Mutex<()>>,
    /// How often the session was deleted meanwhile: what began before a deletion saves nothing after it. Held while
    /// something is written.
    deletions: Mutex<u64>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("failures", &self.failures()).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Neither a count nor a map of weak references is left half done by a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sessions {
    pub fn new(store: Arc<dyn SessionStore>) -> Self {
        Self(Arc::new(Shared { store, used: Mutex::default(), failures: AtomicU64::new(0) }))
    }

    /// Calls of the store that failed.
    pub fn failures(&self) -> u64 {
        self.0.failures.load(Ordering::Relaxed)
    }

    /// How often deleted words could not be overwritten at once.
    pub fn delayed_scrubs(&self) -> u64 {
        self.0.store.delayed_scrubs()
    }

    /// Sessions that a request uses or waits for.
    pub fn in_use(&self) -> usize {
        lock(&self.0.used).values().filter(|used| used.strong_count() > 0).count()
    }

    /// What is remembered of a session; `None` when there is none.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn load(&self, key: &SessionKey) -> Result<Option<Session>, leafresh_store::Error> {
        let key = key.clone();
        self.blocking(move |shared| shared.store.load(&key, OffsetDateTime::now_utc())).await
    }

    /// Forgets a session. A request of it that is still running saves nothing any more.
    ///
    /// # Errors
    /// When the store can't be written; then it may be tried again.
    pub async fn delete(&self, key: &SessionKey) -> Result<(), leafresh_store::Error> {
        let key = key.clone();
        self.blocking(move |shared| {
            let used = shared.used(&key);
            let mut deletions = lock(&used.deletions);
            *deletions += 1;
            shared.store.delete(&key)
        })
        .await
    }

    /// Keeps with the answer of this name what somebody thinks of it; `None` takes that back. False: there is no such answer.
    ///
    /// # Errors
    /// When the store can't be written.
    pub async fn rate(
        &self,
        key: &SessionKey,
        answer: String,
        rating: Option<Rating>,
    ) -> Result<bool, leafresh_store::Error> {
        let key = key.clone();
        self.blocking(move |shared| shared.store.rate(&key, &answer, rating, OffsetDateTime::now_utc())).await
    }

    /// All answers that are rated, oldest first.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn rated(&self) -> Result<Vec<Rated>, leafresh_store::Error> {
        self.blocking(|shared| shared.store.rated(OffsetDateTime::now_utc())).await
    }

    /// Forgets what has expired.
    pub async fn purge(&self) {
        match self.blocking(|shared| shared.store.purge(OffsetDateTime::now_utc())).await {
            Ok(0) => {}
            Ok(sessions) => tracing::info!(sessions, "forgot sessions that had expired"),
            Err(error) => tracing::warn!(%error, "expired sessions could not be deleted"),
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, leafresh_store::Error> + Send + 'static,
    ) -> Result<T, leafresh_store::Error> {
        let shared = self.0.clone();
        let result = spawn_blocking(move || {
            work(&shared).inspect_err(|_| _ = shared.failures.fetch_add(1, Ordering::Relaxed))
        });
        match result.await {
            Ok(result) => result,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    /// Waits until the session's earlier requests have ended, and takes its next turn.
    pub(crate) async fn begin(&self, key: SessionKey, question: String) -> OpenTurn {
        let used = self.0.used(&key);
        let order = used.order.clone().lock_owned().await;
        let before = *lock(&used.deletions);
        let (session, open) = match self.load(&key).await {
            Ok(session) => {
                (session, Some(Open { sessions: self.clone(), key, used, deletions: before, _order: order }))
            }
            // Nothing is saved over what could not be read.
            Err(error) => {
                tracing::warn!(%error, "a session could not be read; its turn is not remembered");
                (None, None)
            }
        };
        OpenTurn {
            open,
            session,
            question,
            asked_at: OffsetDateTime::now_utc(),
            name: None,
            standing: Standing::default(),
        }
    }
}

impl Shared {
    fn used(&self, key: &SessionKey) -> Arc<Used> {
        let mut used = lock(&self.used);
        used.retain(|_, used| used.strong_count() > 0);
        if let Some(used) = used.get(key).and_then(Weak::upgrade) {
            return used;
        }
        let new = Arc::new(Used::default());
        used.insert(key.clone(), Arc::downgrade(&new));
        new
    }
}

/// The right to save a turn, and to be the session's only request meanwhile.
struct Open {
    sessions: Sessions,
    key: SessionKey,
    used: Arc<Used>,
    deletions: u64,
    _order: OwnedMutexGuard<()>,
}

impl Open {
    /// Whether it was saved.
    fn save(self, update: &Update) -> bool {
        let deletions = lock(&self.used.deletions);
        if *deletions != self.deletions {
            return false;
        }
        let shared = &self.sessions.0;
        let saved = shared.store.record(&self.key, update, OffsetDateTime::now_utc());
        if let Err(error) = &saved {
            shared.failures.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%error, "a turn could not be saved");
        }
        saved.is_ok()
    }
}

/// One request's turn in its session, or outside of any. Dropped before it was closed it leaves its question only.
pub(crate) struct OpenTurn {
    open: Option<Open>,
    pub(crate) session: Option<Session>,
    pub(crate) question: String,
    asked_at: OffsetDateTime,
    /// Under which its answer can be rated.
    pub(crate) name: Option<String>,
    /// Where the conversation stands after this turn, as far as that is known.
    pub(crate) standing: Standing,
}

impl OpenTurn {
    /// A request without a session.
    pub(crate) fn alone(question: String) -> Self {
        let asked_at = OffsetDateTime::now_utc();
        Self { open: None, session: None, question, asked_at, name: None, standing: Standing::default() }
    }

    /// Where the conversation stood before; `None` while nothing but fixed replies was said in it.
    pub(crate) fn before(&self) -> Option<&Standing> {
        let standing = &self.session.as_ref()?.standing;
        (!standing.base_category.is_empty()).then_some(standing)
    }

    /// The ids of documents that were offered before.
    pub(crate) fn offered(&self) -> &[String] {
        self.session.as_ref().map_or(&[], |session| &session.offered)
    }

    /// The sentences that no answer of this conversation has begun with, or all where none is left.
    pub(crate) fn unsaid(&self, sentences: Vec<String>) -> Vec<String> {
        let left = self.not_said(&sentences);
        if left.is_empty() { sentences } else { left }
    }

    /// The sentences that no answer of this conversation has begun with.
    pub(crate) fn not_said(&self, sentences: &[String]) -> Vec<String> {
        let said = |sentence: &String| {
            let turns = self.session.iter().flat_map(|session| &session.turns);
            let mut answers = turns.filter(|turn| turn.role == Role::Assistant);
            answers.any(|turn| turn.text.starts_with(sentence))
        };
        sentences.iter().filter(|sentence| !said(sentence)).cloned().collect()
    }

    /// Saves the whole turn; whether that worked is what `remembered` says.
    pub(crate) async fn close(mut self, answer: String, offered: Vec<String>) -> bool {
        let Some(open) = self.open.take() else {
            return false;
        };
        let now = OffsetDateTime::now_utc();
        let turns = vec![self.asked(), leafresh_store::Turn { role: Role::Assistant, text: answer, at: now }];
        let update = Update { standing: self.standing.clone(), turns, answer: self.name.take(), offered };
        // It goes on when the reader leaves meanwhile: the answer was complete.
        spawn_blocking(move || open.save(&update)).await.unwrap_or(false)
    }

    fn asked(&self) -> leafresh_store::Turn {
        leafresh_store::Turn { role: Role::User, text: self.question.clone(), at: self.asked_at }
    }
}

impl Drop for OpenTurn {
    fn drop(&mut self) {
        let (Some(open), Ok(runtime)) = (self.open.take(), Handle::try_current()) else {
            return;
        };
        let standing = self.before().unwrap_or(&self.standing).clone();
        let update = Update { standing, turns: vec![self.asked()], answer: None, offered: Vec::new() };
        runtime.spawn_blocking(move || open.save(&update));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use leafresh_store::{Faults, Options, Sqlite};
    use tempfile::TempDir;

    use super::*;

    struct Fixture {
        sessions: Sessions,
        _dir: TempDir,
    }

    fn fixture(options: Options) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let store = Sqlite::open(&dir.path().join("sessions.db"), options).unwrap();
        Fixture { sessions: Sessions::new(Arc::new(store)), _dir: dir }
    }

    fn key() -> SessionKey {
        SessionKey { owner: String::new(), id: "a".into() }
    }

    async fn texts(sessions: &Sessions) -> Vec<String> {
        let session = sessions.load(&key()).await.unwrap();
        session.map(|session| session.turns.into_iter().map(|turn| turn.text).collect()).unwrap_or_default()
    }

    async fn until_texts(sessions: &Sessions, expected: &[&str]) {
        for _ in 0..500 {
            if texts(sessions).await == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(texts(sessions).await, expected);
    }

    #[tokio::test]
    async fn a_turn_is_saved_whole_and_one_that_is_dropped_leaves_its_question() {
        let Fixture { sessions, _dir } = fixture(Options::default());
        let turn = sessions.begin(key(), "q1".into()).await;
        assert!(turn.session.is_none());
        assert!(turn.close("a1".into(), vec!["d1".into()]).await);
        let turn = sessions.begin(key(), "q2".into()).await;
        assert_eq!(turn.offered(), ["d1"]);
        drop(turn);
        until_texts(&sessions, &["q1", "a1", "q2"]).await;
    }

    #[tokio::test]
    async fn a_second_request_of_a_session_waits_for_the_first_one() {
        let Fixture { sessions, _dir } = fixture(Options::default());
        let first = sessions.begin(key(), "q1".into()).await;
        let other = sessions.clone();
        let mut second = tokio::spawn(async move { other.begin(key(), "q2".into()).await });
        // A request of another session needn't wait.
        let elsewhere = SessionKey { id: "b".into(), ..key() };
        assert!(sessions.begin(elsewhere, "q".into()).await.close("a".into(), Vec::new()).await);
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut second).await.is_err());
        assert!(first.close("a1".into(), Vec::new()).await);
        let second = second.await.unwrap();
        assert_eq!(second.session.as_ref().unwrap().turns.len(), 2);
        assert!(second.close("a2".into(), Vec::new()).await);
        assert_eq!(texts(&sessions).await, ["q1", "a1", "q2", "a2"]);
    }

    #[tokio::test]
    async fn what_began_before_a_deletion_saves_nothing_after_it() {
        let Fixture { sessions, _dir } = fixture(Options::default());
        assert!(sessions.begin(key(), "q1".into()).await.close("a1".into(), Vec::new()).await);
        let closed = sessions.begin(key(), "q2".into()).await;
        sessions.delete(&key()).await.unwrap();
        assert!(!closed.close("a2".into(), Vec::new()).await);
        let dropped = sessions.begin(key(), "q3".into()).await;
        sessions.delete(&key()).await.unwrap();
        drop(dropped);
        let after = sessions.begin(key(), "q4".into()).await;
        assert!(after.session.is_none());
        assert!(after.close("a4".into(), Vec::new()).await);
        assert_eq!(texts(&sessions).await, ["q4", "a4"]);
    }

    #[tokio::test]
    async fn a_turn_that_cannot_be_saved_says_so_and_is_counted() {
        let faults = Arc::new(Faults::every(1));
        let Fixture { sessions, _dir } = fixture(Options { faults, ..Options::default() });
        let turn = sessions.begin(key(), "q1".into()).await;
        assert!(!turn.close("a1".into(), Vec::new()).await);
        assert_eq!(sessions.failures(), 1);
        assert!(texts(&sessions).await.is_empty());
    }
}
