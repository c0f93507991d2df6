//! Answers as server-sent events, as they are written.

use std::convert::Infallible;

use axum::body::Body;
use axum::response::Response;
use serde_json::Value;

use super::super::envelope::one_line;
use super::super::pieces::{Pieces, Write};
use super::super::sse::with_headers;
use super::error::Refusal;
use super::writing::{Finish, Spent, Writing, Written};

/// What ends a stream of chunks.
pub(super) const DONE: &str = "data: [DONE]\n\n";

/// What an endpoint says as its answers are written. Each gives whole events.
pub(super) trait Form: Send + 'static {
    /// Before all else.
    fn begin(&mut self) -> String {
        String::new()
    }

    fn text(&mut self, choice: usize, text: &str) -> String;

    fn end(&mut self, choice: usize, finish: Finish) -> String;

    /// All answers have ended.
    fn close(&mut self, spent: Spent) -> String;

    /// They won't be finished.
    fn fail(&mut self, refusal: &Refusal) -> String {
        event(&refusal.json())
    }
}

/// An event without a name.
pub(super) fn event(data: &Value) -> String {
    format!("data: {}\n\n", one_line(data.to_string()))
}

/// An event with a name.
pub(super) fn named_event(name: &str, data: &Value) -> String {
    format!("event: {name}\n{}", event(data))
}

/// A response whose events come as answers are written. It begins with the first word: what fails before is told by its status,
/// so that clients try again where that helps.
///
/// # Errors
/// What failed before the first word.
pub(super) async fn respond<F: Form>(mut writing: Writing, mut form: F) -> Result<Response, Refusal> {
    let first = writing.next().await?;
    let begin = form.begin();
    let mut teller = Teller { ready: None, writing: Some(writing), form };
    teller.ready = Some(begin + &teller.tell(first));
    Ok(with_headers(Body::new(Pieces::of(teller))))
}

struct Teller<F> {
    /// What is to be said before anything is waited for.
    ready: Option<String>,
    /// None: all is said.
    writing: Option<Writing>,
    form: F,
}

impl<F: Form> Teller<F> {
    fn tell(&mut self, written: Option<Written>) -> String {
        match (written, &self.writing) {
            (Some(Written::Text { choice, text }), _) => self.form.text(choice, &text),
            (Some(Written::End { choice, finish }), _) => self.form.end(choice, finish),
            (None, Some(writing)) => {
                let spent = writing.spent();
                self.writing = None;
                self.form.close(spent)
            }
            (None, None) => String::new(),
        }
    }
}

impl<F: Form> Write for Teller<F> {
    type Error = Infallible;

    async fn write(mut self) -> Result<Option<(String, Self)>, Infallible> {
        if let Some(ready) = self.ready.take() {
            return Ok(Some((ready, self)));
        }
        let Some(writing) = &mut self.writing else { return Ok(None) };
        let text = match writing.next().await {
            Ok(written) => self.tell(written),
            Err(refusal) => {
                tracing::info!(status = refusal.status, code = refusal.code, "a stream ends in an error");
                self.writing = None;
                self.form.fail(&refusal)
            }
        };
        Ok(Some((text, self)))
    }
}
