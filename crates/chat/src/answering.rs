//! One request from its admission to its end.

mod choosing;
mod clock;
mod following;
mod writing;

use std::sync::Arc;
use std::time::Duration;

use leafresh_engine::Reservation;
use leafresh_retrieval::QueryVector;
use leafresh_store::{SessionKey, Standing};
use rand::Rng;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout_at};

pub(crate) use self::following::Meant;
use crate::answer::source;
use crate::catalog::{Intent, Liking};
use crate::conversations::OpenTurn;
use crate::event::{Control, Progress};
use crate::guard::Refusal;
use crate::history::{self, Exchange};
use crate::library::randomness;
use crate::reading::{Reading, Reply, Wish};
use crate::record::Record;
use crate::{
    Answer, BaseInfo, Category, Command, DegradedReason, Document, Event, Failure, FreeText, Grounding,
    Recommender,
};

/// What a request was admitted with.
pub(crate) enum Begun {
    /// A place in the engine.
    Admitted(Reservation),
    /// The engine has none: the catalogue answers.
    Degraded(DegradedReason, OwnedSemaphorePermit),
}

/// The reader has gone away: whoever sends an event hears of it.
#[derive(Debug)]
struct Gone;

pub(crate) struct Answering {
    recommender: Recommender,
    events: mpsc::Sender<Event>,
    control: Arc<Control>,
    /// When the answer as a whole has taken too long.
    deadline: Instant,
    /// How long it waited for its session's earlier requests.
    waited: Duration,
}

/// What a request asks for, once the conversation's rules have been applied.
struct Subject {
    message: Option<String>,
    /// What is searched for, and its vector if that is known already.
    text: String,
    vector: Option<QueryVector>,
    /// The message could not be embedded in time.
    unread: bool,
    /// The message says what it is about, not only where the conversation goes.
    says_what: bool,
    /// Others are wanted than those that were offered, and which.
    wishes: Vec<Intent>,
    liking: Liking,
    /// It may go to another category where nothing is left of this one.
    may_move: bool,
    category: Category,
    history: Vec<Exchange>,
}

impl Answering {
    pub(crate) fn new(recommender: Recommender, events: mpsc::Sender<Event>, control: Arc<Control>) -> Self {
        let deadline = Instant::now() + recommender.deadlines.answer;
        Self { recommender, events, control, deadline, waited: Duration::ZERO }
    }

    pub(crate) async fn answer(mut self, command: Command, begun: Begun) {
        // An error means that nobody reads any more.
        let _ = match command {
            Command::BaseInfo(request) => self.base_info(request, begun).await,
            Command::FreeText(request) => self.free_text(request, begun).await,
        };
    }

    async fn base_info(&mut self, request: BaseInfo, begun: Begun) -> Result<(), Gone> {
        let catalog = self.recommender.catalog.clone();
        let Some(category) = catalog.category(&request.category).cloned() else {
            tracing::error!(category = request.category, "a request for a category that isn't there");
            return self.send(Event::Error(Failure::Internal)).await;
        };
        let place = catalog.place(&request.location);
        let work_type = catalog.work_type(&request.work_type);
        let label = |term: Option<&crate::Term>, text: &str| {
            term.map_or_else(|| text.to_owned(), |term| term.label.clone())
        };
        let question =
            [label(place, &request.location), label(work_type, &request.work_type), category.label.clone()]
                .join(" · ");
        let mut turn = self.begin(&request.owner, request.session_id.as_deref(), question).await;
        turn.standing = Standing {
            base_category: category.code.clone(),
            category: category.code.clone(),
            location: given(&request.location),
            work_type: given(&request.work_type),
            adapter: request.adapter.or_else(|| turn.before()?.adapter.clone()),
        };
        // As a phrase, for the search to have something to go by.
        let mut text = format!("{}. {}", category.label, category.description);
        for phrase in
            [place.map(|place| &place.phrase), work_type.map(|work| &work.phrase)].into_iter().flatten()
        {
            text = format!("{text} {phrase}");
        }
        let subject = Subject {
            message: None,
            text,
            vector: None,
            unread: false,
            says_what: false,
            wishes: Vec::new(),
            liking: Liking::default(),
            may_move: false,
            category,
            history: Vec::new(),
        };
        self.write(subject, turn, begun).await
    }

    async fn free_text(&mut self, request: FreeText, begun: Begun) -> Result<(), Gone> {
        let catalog = self.recommender.catalog.clone();
        let FreeText { owner, session_id, message, location, work_type, adapter } = request;
        let mut turn = self.begin(&owner, session_id.as_deref(), message.clone()).await;
        let mut reading = Reading::of(&message, &catalog);
        let begun_before = turn.session.as_ref().is_some_and(|session| !session.turns.is_empty());
        let told = turn.session.as_ref().map(history::offered_last).unwrap_or_default();
        // A full queue means: no work. And a word that answers what was offered is looked up in lists.
        let degraded = matches!(begun, Begun::Degraded(..));
        let until = Instant::now() + self.recommender.deadlines.retrieval;
        let vector = if degraded || reading.is_settled() {
            None
        } else {
            self.control.set_progress(Progress::Retrieving);
            self.embed(&message, until).await
        };
        let judge = self.recommender.judge();
        self.recommender.figures.count_message();
        self.control.note(|record| record.verdict = Some(Record::PASSED));
        if let Some(refusal) = judge.at_sight(&message, &reading, vector.as_ref(), !told.is_empty()) {
            return self.refuse(refusal, turn).await;
        }
        let fixed = &catalog.replies().fixed;
        let meant = self.recommender.meant(&message, &reading, vector.as_ref(), !told.is_empty());
        meant.amend(&mut reading);
        if let Some(written) = self.written(&meant.intents, reading.number, &told, &turn) {
            return self.reply(written.text.join(" "), &written.documents, turn).await;
        }
        match reading.reply {
            Some(Reply::Consent) => return self.reply(fixed.consent.clone(), &[], turn).await,
            Some(Reply::Number(number)) => match told.get(number - 1) {
                Some(told) => {
                    let again = fixed.again(number, &told.title, &told.description);
                    return self.reply(again, &[], turn).await;
                }
                None => return self.refuse(Refusal::Short, turn).await,
            },
            // Others of the same category.
            Some(Reply::Refusal) | None => {}
        }
        let mut wishes: Vec<Intent> = meant.wishes().collect();
        if !told.is_empty() && (reading.reply.is_some() || reading.wish == Some(Wish::Another)) {
            wishes.push(Intent::Another);
        }
        let liking = self.liking(&message, &wishes);
        let searched = self.searched_text(&message, &reading, &turn, !wishes.is_empty());
        let unread = !degraded && self.is_unread(vector.as_ref());
        let about_offered = !wishes.is_empty();
        if !degraded
            && !about_offered
            && judge.is_off_topic(&message, &reading, vector.as_ref(), begun_before)
        {
            return self.refuse(Refusal::OffTopic, turn).await;
        }
        let mut nearest = None;
        if Recommender::looks_for_category(&reading, &meant, begun_before) {
            let library = &self.recommender.library;
            let library = if degraded || unread { library.without_search() } else { library.clone() };
            let looking =
                timeout_at(until, library.nearest_category(&message, vector.as_ref(), meant.is_new));
            nearest = self.timed(looking).await.ok().flatten();
        }
        turn.standing = reading.apply(turn.before(), nearest, &catalog, &mut self.rng());
        // What was chosen counts more than what words seem to say.
        turn.standing.location = location.or(turn.standing.location.take());
        turn.standing.work_type = work_type.or(turn.standing.work_type.take());
        turn.standing.adapter = adapter.or(turn.standing.adapter.take());
        let Some(category) = catalog.category(&turn.standing.category).cloned() else {
            return self.send(Event::Error(Failure::Internal)).await;
        };
        // "다른 거" says nothing of what to look for.
        let says_what = searched.is_some() && wishes.is_empty();
        let (text, vector) = match searched {
            Some(text) if text == message => (text, vector),
            Some(text) if degraded || unread => (text, None),
            Some(text) => {
                let vector = self.embed(&text, until).await;
                (text, vector)
            }
            None => (format!("{}. {}", category.label, category.description), None),
        };
        let history = turn.session.as_ref().map(history::exchanges).unwrap_or_default();
        let may_move = reading.categories.is_empty() && reading.wish.is_none();
        let subject = Subject {
            message: Some(message),
            text,
            vector,
            unread,
            says_what,
            wishes,
            liking,
            may_move,
            category,
            history,
        };
        self.write(subject, turn, begun).await
    }

    async fn begin(&mut self, owner: &str, session_id: Option<&str>, question: String) -> OpenTurn {
        let mut turn = match (self.recommender.sessions.clone(), session_id) {
            (Some(sessions), Some(id)) => {
                let key = SessionKey { owner: owner.to_owned(), id: id.to_owned() };
                let since = Instant::now();
                let turn = sessions.begin(key, question).await;
                // Waiting for one's own earlier request is no fault of the engine's.
                self.waited = since.elapsed();
                self.control.note(|record| record.add_queue(self.waited));
                self.deadline = Instant::now() + self.recommender.deadlines.answer;
                turn
            }
            _ => OpenTurn::alone(question),
        };
        turn.name = self.control.name();
        turn
    }

    fn rng(&self) -> impl Rng + use<> {
        randomness(self.recommender.settings.sampling.seed)
    }

    async fn embed(&self, message: &str, until: Instant) -> Option<QueryVector> {
        let search = self.recommender.library.search.as_ref().filter(|search| search.can_embed())?;
        match self.timed(timeout_at(until, search.embed(message))).await {
            Ok(Ok(vector)) => Some(vector),
            Ok(Err(error)) => {
                tracing::warn!(%error, "a message could not be embedded; keywords have to do");
                None
            }
            Err(_) => {
                self.recommender.figures.count_unread();
                tracing::warn!("embedding a message took too long; keywords have to do");
                None
            }
        }
    }

    /// Whether a message could not be embedded in time: no search tries that again.
    fn is_unread(&self, vector: Option<&QueryVector>) -> bool {
        let search = self.recommender.library.search.as_ref();
        vector.is_none() && search.is_some_and(leafresh_retrieval::Search::can_embed)
    }

    /// Counts the time that this takes as retrieval.
    async fn timed<T>(&self, work: impl Future<Output = T>) -> T {
        let since = Instant::now();
        let done = work.await;
        self.control.note(|record| record.add_retrieval(since.elapsed()));
        done
    }

    /// Keeps a message from being answered with challenges.
    async fn refuse(&mut self, refusal: Refusal, turn: OpenTurn) -> Result<(), Gone> {
        self.recommender.figures.count_refused(refusal);
        self.control.note(|record| record.verdict = Some(refusal.name()));
        tracing::info!(refusal = refusal.name(), "a message got a fixed reply");
        let reply = refusal.reply(self.recommender.catalog.replies()).to_owned();
        self.reply(reply, &[], turn).await
    }

    /// A whole answer without challenges, made from these documents or fixed. The conversation stays where it is; one that
    /// hasn't begun has no category yet.
    async fn reply(&mut self, text: String, documents: &[Document], mut turn: OpenTurn) -> Result<(), Gone> {
        turn.standing = turn.before().cloned().unwrap_or_default();
        self.send(Event::Text(text.clone())).await?;
        let answer = Answer {
            recommend: text,
            challenges: Vec::new(),
            sources: documents.iter().map(|document| source(document, None)).collect(),
            grounding: if documents.is_empty() { Grounding::None } else { Grounding::Select },
            degraded: false,
            degraded_reason: None,
            remembered: false,
        };
        self.close(answer, turn, Vec::new()).await
    }

    /// The end: the turn is saved, then the reader hears whether it was.
    async fn close(&mut self, mut answer: Answer, turn: OpenTurn, offered: Vec<String>) -> Result<(), Gone> {
        let tellings = self.recommender.catalog.tellings();
        for source in &mut answer.sources {
            (source.minutes, source.proof) = tellings.demands(&source.id).unzip();
        }
        answer.remembered = turn.close(answer.render(), offered).await;
        self.send(Event::Close(answer)).await
    }

    async fn send(&mut self, event: Event) -> Result<(), Gone> {
        self.events.send(event).await.map_err(|_| Gone)
    }
}

fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
