//! Whether somebody is in distress, in danger or insulting, learned from the catalogue's examples. Word lists know what
//! they name; people in distress say it in words of their own.

use leafresh_retrieval::{QueryVector, Search};

use super::Refusal;
use super::classifier::{self, Classifier, Cut, vectors_of};
use super::letters::Letters;
use crate::Error;
use crate::catalog::{AlarmKind, Catalog, Gate, Split};

/// Of the messages that only sound like it, how many pass: judged by what others taught.
const CUTS: [Cut; CLASSES] = [Cut::Passes(0.985), Cut::Passes(0.99), Cut::Passes(0.99)];

/// Distress, danger, insults.
pub(crate) const CLASSES: usize = 3;

/// What a list takes for an insult is one, unless examples speak against it by that much.
const LISTED: f32 = -0.3;

/// One of so many messages about anything else fills the space around the examples.
const FILLERS: usize = 3;

/// Texts and labels that it learns from.
pub(crate) fn learned_from(catalog: &Catalog) -> Vec<(&str, Option<usize>)> {
    let gate = catalog.gate();
    let labelled = gate.alarming().iter().map(|example| {
        let class = match example.kind {
            AlarmKind::Distress => Some(0),
            AlarmKind::Danger => Some(1),
            AlarmKind::Insult => Some(2),
            AlarmKind::None => None,
        };
        (example.text.as_str(), class)
    });
    let others = gate.examples().iter().filter(|example| example.split == Split::Tune).step_by(FILLERS);
    // Those off the topic are of any kind.
    let others = others.map(|example| example.text.as_str());
    let others = others.filter(|text| gate.emergency(text).is_none() && !gate.insults(text));
    labelled.chain(others.map(|text| (text, None))).collect()
}

/// Nothing where the catalogue has no examples. Takes a minute.
///
/// # Errors
/// [`Error::Retrieval`] when the examples can't be embedded.
pub(crate) async fn learn(catalog: &Catalog, search: &Search) -> Result<Option<Classifier>, Error> {
    let fillers = catalog.gate().alarming().len();
    if fillers == 0 {
        return Ok(None);
    }
    let (texts, labels): (Vec<String>, Vec<Vec<usize>>) = learned_from(catalog)
        .into_iter()
        .map(|(text, class)| (text.to_owned(), class.into_iter().collect()))
        .unzip();
    classifier::learn(texts, labels, &CUTS, Letters::Anywhere, fillers, search).await.map(Some)
}

/// What a message is, by examples; the list of insults knows disguises beside them.
pub(crate) fn raised(
    classifier: &Classifier,
    message: &str,
    vector: &QueryVector,
    gate: &Gate,
) -> Option<Refusal> {
    let scores = classifier.scores(message, vectors_of(vector));
    let &[distress, danger, insult] = scores.as_slice() else { return None };
    if distress.max(danger) > 0.0 {
        return Some(if distress >= danger { Refusal::Distress } else { Refusal::Danger });
    }
    let needed = if gate.insults(message) { LISTED } else { 0.0 };
    (insult > needed).then_some(Refusal::Insult)
}
