//! What is known of an answer besides its text, for figures and logs.

use std::time::Duration;

use leafresh_engine::Usage;

/// How long an answer's stages took so far, and what they came to. `None`: there was no such stage. Time without a reader is
/// in none of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Record {
    /// Waiting for earlier requests of the session, and for a place among those that run.
    pub queue: Option<Duration>,
    /// Embedding the request, and searching.
    pub retrieval: Option<Duration>,
    /// From the place to the text that follows: the model reads the prompt.
    pub prefill: Option<Duration>,
    /// What the gate said to a message: [`Record::PASSED`], or the name of a [`Refusal`](crate::Refusal).
    pub verdict: Option<&'static str>,
    /// Of a generation that the model has finished.
    pub usage: Option<Usage>,
}

impl Record {
    pub const PASSED: &str = "passed";

    pub(crate) fn add_queue(&mut self, time: Duration) {
        *self.queue.get_or_insert_default() += time;
    }

    pub(crate) fn add_retrieval(&mut self, time: Duration) {
        *self.retrieval.get_or_insert_default() += time;
    }

    pub(crate) fn add_prefill(&mut self, time: Duration) {
        *self.prefill.get_or_insert_default() += time;
    }
}
