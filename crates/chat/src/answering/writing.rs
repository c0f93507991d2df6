//! An answer with challenges: the model chooses or writes, and the catalogue completes what it can't finish.

use std::time::Duration;

use leafresh_engine::{Delta, Generation, Progress as Written, Request};
use tokio::time::{Instant, sleep_until};

use super::choosing::Chosen;
use super::{Answering, Begun, Gone, Subject};
use crate::answer::Writer;
use crate::brief::Brief;
use crate::conversations::OpenTurn;
use crate::event::Progress;
use crate::fallback;
use crate::library::Wanted;
use crate::{DegradedReason, Document, Event, Failure, Recommender};

impl Answering {
    /// Finds documents, has the model write, and completes what it can't finish.
    pub(super) async fn write(
        &mut self,
        mut subject: Subject,
        mut turn: OpenTurn,
        begun: Begun,
    ) -> Result<(), Gone> {
        self.control.set_progress(Progress::Retrieving);
        let degraded = matches!(begun, Begun::Degraded(..));
        let Chosen { found, opening } = self.chosen(&mut subject, &mut turn, degraded).await;
        let documents: Vec<&Document> = found.iter().map(|found| &found.document).collect();
        let recommender = self.recommender.clone();
        let brief = Brief {
            message: subject.message.as_deref(),
            location: turn.standing.location.as_deref(),
            work_type: turn.standing.work_type.as_deref(),
            category: &subject.category,
            documents: &documents,
            history: &subject.history,
        };
        let form = recommender.catalog.form();
        let program =
            form.program(recommender.shape(&brief), &subject.category, &documents, opening.as_ref());
        let (prompt, program) = match (recommender.prompt(&brief), program) {
            (Ok(prompt), Ok(program)) => (prompt, program),
            (Err(error), _) | (_, Err(error)) => {
                tracing::error!(%error, "a valid request could not be put to the engine");
                return self.send(Event::Error(Failure::Internal)).await;
            }
        };
        let mut writer = Writer::new(program.clone(), subject.category.clone(), recommender.grounding, found);
        let outcome = match begun {
            Begun::Degraded(reason, permit) => Err((reason.into(), Some(permit))),
            Begun::Admitted(mut reservation) => {
                reservation.wait_longer(self.waited);
                let request = Request {
                    adapter: recommender.adapter(turn.standing.adapter.as_deref(), &subject.category),
                    prompt,
                    program,
                    progress: Written::default(),
                    sampling: recommender.settings.sampling.clone(),
                };
                match recommender.backend.start(reservation, request) {
                    Ok(generation) => self.generated(generation, &mut writer).await?,
                    Err(error) => Err(Unfinished::of(&error)),
                }
                .map_err(|unfinished| (unfinished, recommender.may_fall_back(unfinished.reason)))
            }
        };
        // Held until the reader has the end: so many of these at once and no more.
        let _permit = match outcome {
            Ok(()) => None,
            Err((unfinished, Some(permit))) => {
                if !self.complete(&mut writer, unfinished.reason, &turn).await? {
                    return self.send(Event::Error(unfinished.failure(&writer))).await;
                }
                Some(permit)
            }
            Err((unfinished, None)) => return self.send(Event::Error(unfinished.failure(&writer))).await,
        };
        let answer = writer.answer();
        let offered = answer.sources.iter().map(|source| source.id.clone()).collect();
        self.close(answer, turn, offered).await
    }

    /// Hands on what the model writes; an error says why it can't be finished.
    async fn generated(
        &mut self,
        mut generation: Generation,
        writer: &mut Writer,
    ) -> Result<Result<(), Unfinished>, Gone> {
        let patience = Patience::of(&self.recommender);
        let mut positions = generation.positions();
        let presence = self.control.presence().clone();
        self.control.set_progress(Progress::Generating(generation.positions()));
        let mut waiting = generation.position().is_some();
        let mut silent_since = Instant::now();
        loop {
            let allowed = if waiting { patience.in_queue } else { patience.between_tokens };
            let due = (silent_since + allowed).min(self.deadline);
            tokio::select! {
                biased;
                // The engine sees it too; nothing is late meanwhile.
                () = presence.parked() => {
                    let since = Instant::now();
                    presence.resumed().await;
                    self.deadline += since.elapsed();
                    silent_since = Instant::now();
                    waiting = generation.position().is_some();
                }
                delta = generation.next() => match delta {
                    Some(Delta::Done(_)) => return Ok(Ok(())),
                    Some(Delta::Failed(error)) => {
                        tracing::warn!(%error, "a generation failed");
                        return Ok(Err(Unfinished::of(&error)));
                    }
                    None => return Ok(Err(DegradedReason::Engine.into())),
                    Some(delta) => {
                        (silent_since, waiting) = (Instant::now(), false);
                        self.control.set_progress(Progress::Writing);
                        for event in writer.push(delta) {
                            self.send(event).await?;
                        }
                    }
                },
                changed = positions.changed(), if waiting => {
                    let runs = changed.is_err() || positions.borrow_and_update().is_none();
                    if runs {
                        (silent_since, waiting) = (Instant::now(), false);
                    }
                }
                () = sleep_until(due) => {
                    let late = Instant::now() >= self.deadline || waiting;
                    let reason = if late { DegradedReason::Timeout } else { DegradedReason::Engine };
                    tracing::warn!(reason = reason.name(), "the model took too long");
                    return Ok(Err(reason.into()));
                }
            }
        }
    }

    /// Finishes the answer from the catalogue; `false` when what was begun can't be finished.
    async fn complete(
        &mut self,
        writer: &mut Writer,
        reason: DegradedReason,
        turn: &OpenTurn,
    ) -> Result<bool, Gone> {
        let catalog = self.recommender.catalog.clone();
        let mut documents: Vec<Document> =
            writer.documents().iter().map(|found| found.document.clone()).collect();
        if !fallback::enough(&documents) {
            let standing = &turn.standing;
            let (location, work_type) = (standing.location.as_deref(), standing.work_type.as_deref());
            let wanted = Wanted {
                challenges: true,
                offered: turn.offered(),
                ..self.recommender.wanted(None, location, work_type, writer.category())
            };
            let found = self.recommender.library.without_search().find(&wanted).await;
            documents.extend(found.into_iter().map(|found| found.document));
        }
        let Some(deltas) = catalog.form().fallback.complete(writer, writer.category(), &documents) else {
            tracing::error!(reason = reason.name(), "an answer could not be completed from the catalogue");
            return Ok(false);
        };
        self.recommender.figures.count_degraded(reason);
        tracing::info!(reason = reason.name(), "the catalogue answers");
        writer.degrade(reason, documents);
        for delta in deltas {
            for event in writer.push(delta) {
                self.send(event).await?;
            }
        }
        Ok(true)
    }
}

/// How long a generation is waited for.
struct Patience {
    in_queue: Duration,
    between_tokens: Duration,
}

impl Patience {
    fn of(recommender: &Recommender) -> Self {
        let deadlines = &recommender.deadlines;
        // The engine's own deadline comes first; this one is for an engine that says nothing at all.
        Self { in_queue: deadlines.queue + Duration::from_secs(1), between_tokens: deadlines.stall }
    }
}

/// Why the model can't finish an answer.
#[derive(Debug, Clone, Copy)]
struct Unfinished {
    reason: DegradedReason,
    /// What a reader hears when the catalogue may not answer, where more is known than the reason.
    failure: Option<Failure>,
}

impl From<DegradedReason> for Unfinished {
    fn from(reason: DegradedReason) -> Self {
        Self { reason, failure: None }
    }
}

impl Unfinished {
    fn of(error: &leafresh_engine::Error) -> Self {
        use leafresh_engine::Error;
        match error {
            Error::Overloaded { .. } => DegradedReason::Overloaded.into(),
            Error::WaitedTooLong => DegradedReason::Timeout.into(),
            Error::Upstream { late: true, .. } => {
                Self { reason: DegradedReason::Timeout, failure: Some(Failure::UpstreamLate) }
            }
            Error::Upstream { .. } => {
                Self { reason: DegradedReason::Engine, failure: Some(Failure::Upstream) }
            }
            _ => DegradedReason::Engine.into(),
        }
    }

    fn failure(self, writer: &Writer) -> Failure {
        let begun = !writer.progress().done.is_empty() || !writer.progress().partial.is_empty();
        self.failure.unwrap_or(match self.reason {
            DegradedReason::Timeout if begun => Failure::Stalled,
            DegradedReason::Overloaded | DegradedReason::Timeout => Failure::Unavailable,
            DegradedReason::Engine => Failure::Internal,
        })
    }
}
