//! Admission: a place in the engine, or the right to answer without one.

use std::time::Instant;

use leafresh_engine::{Arrival, Presence};

use crate::answering::{Answering, Begun};
use crate::recommend::Recommender;
use crate::{BaseInfo, Command, DegradedReason, Error, Events, FreeText};

/// Bytes that a prompt has beside the message, about: a place is reserved before anything is rendered.
const PROMPT_BYTES: usize = 4096;

impl Recommender {
    /// Admits a request of either kind. Nothing is computed before its events are read. Requests that wait are taken in turn,
    /// one of each client; `None` is one client too.
    ///
    /// # Errors
    /// [`Error::Engine`] with `Overloaded` when the queue is full and the catalogue may not answer instead.
    pub fn start(&self, command: &Command, client: Option<String>) -> Result<Events, Error> {
        let bytes = match command {
            Command::BaseInfo(_) => 0,
            Command::FreeText(request) => request.message.len(),
        };
        let presence = Presence::default();
        let arrival = Arrival {
            client,
            prompt_bytes: PROMPT_BYTES + bytes,
            deadline: Some(Instant::now() + self.deadlines.queue),
            presence: presence.clone(),
        };
        let begun = match self.backend.reserve(&arrival) {
            Ok(reservation) => Begun::Admitted(reservation),
            Err(error) => {
                let reason = match error {
                    leafresh_engine::Error::Overloaded { .. } => DegradedReason::Overloaded,
                    _ => DegradedReason::Engine,
                };
                match self.may_fall_back(reason) {
                    Some(permit) => Begun::Degraded(reason, permit),
                    None => return Err(error.into()),
                }
            }
        };
        let (recommender, command) = (self.clone(), command.clone());
        Ok(Events::new(presence, |events, control| {
            Answering::new(recommender, events, control).answer(command, begun)
        }))
    }

    /// Admits three choices.
    ///
    /// # Errors
    /// As [`Recommender::start`].
    pub fn base_info(&self, request: &BaseInfo) -> Result<Events, Error> {
        self.start(&Command::BaseInfo(request.clone()), None)
    }

    /// Admits a message.
    ///
    /// # Errors
    /// As [`Recommender::start`].
    pub fn free_text(&self, request: &FreeText) -> Result<Events, Error> {
        self.start(&Command::FreeText(request.clone()), None)
    }
}
