//! What was said in a conversation before.

use leafresh_store::{Role, Session};

/// A question of the conversation and, in one line, what was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) question: String,
    pub(crate) answer: String,
}

/// A challenge as it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) title: String,
    pub(crate) description: String,
}

/// What was said before, oldest first, each exchange in one line.
pub(crate) fn exchanges(session: &Session) -> Vec<Exchange> {
    let mut history: Vec<Exchange> = Vec::new();
    for turn in &session.turns {
        match (turn.role, history.last_mut()) {
            (Role::User, _) => {
                history.push(Exchange { question: turn.text.clone(), answer: String::new() });
            }
            (Role::Assistant, Some(last)) => last.answer = in_one_line(&turn.text),
            // Its question was forgotten.
            (Role::Assistant, None) => {}
        }
    }
    history
}

/// The challenges that were offered last; none where none were.
pub(crate) fn offered_last(session: &Session) -> Vec<Told> {
    let answers = session.turns.iter().rev().filter(|turn| turn.role == Role::Assistant);
    answers.map(|turn| challenges(&turn.text)).find(|told| !told.is_empty()).unwrap_or_default()
}

/// The challenges of an answer as [`crate::Answer::render`] writes it.
fn challenges(answer: &str) -> Vec<Told> {
    let told = |part: &str| {
        let (title, description) = part.split_once('\n')?;
        let (number, title) = title.split_once(". ")?;
        number.parse::<usize>().ok()?;
        Some(Told { title: title.to_owned(), description: description.to_owned() })
    };
    answer.split("\n\n").skip(1).filter_map(told).collect()
}

/// The titles of an answer's challenges; of a fixed reply its sentence.
fn in_one_line(answer: &str) -> String {
    let titles: Vec<String> = challenges(answer).into_iter().map(|told| told.title).collect();
    if titles.is_empty() { answer.lines().next().unwrap_or_default().to_owned() } else { titles.join(", ") }
}
