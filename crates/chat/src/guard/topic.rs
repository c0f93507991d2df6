//! Whether messages are about the topic, learned from the catalogue's examples.

use leafresh_retrieval::Search;

use super::classifier::{self, Classifier, Cut, Vectors};
use super::letters::Letters;
use crate::Error;
use crate::catalog::{Example, Split, Topic};

/// Messages on the topic that have to pass, of those that are judged by what others taught.
const LET_THROUGH: f32 = 0.975;

/// How fast scores become probabilities.
const SHARPNESS: f32 = 4.0;

/// Classes: on the topic, or of none.
pub(crate) const CLASSES: usize = 1;

/// What of the examples is learned from: messages and labels.
pub(crate) fn learned_from(examples: &[Example]) -> impl Iterator<Item = &str> {
    let tuning = examples.iter().filter(|example| example.split == Split::Tune);
    tuning.flat_map(|example| [example.text.as_str(), if example.topic == Topic::On { "on" } else { "off" }])
}

/// Takes a minute or two.
///
/// # Errors
/// [`Error::Retrieval`] when the examples can't be embedded.
pub(crate) async fn learn(examples: &[Example], search: &Search) -> Result<Classifier, Error> {
    let tuning = examples.iter().filter(|example| example.split == Split::Tune);
    let class = |example: &Example| (example.topic == Topic::On).then_some(0).into_iter().collect();
    let (texts, labels): (Vec<String>, Vec<Vec<usize>>) =
        tuning.map(|example| (example.text.clone(), class(example))).unzip();
    let fillers = texts.len();
    classifier::learn(texts, labels, &[Cut::Keeps(LET_THROUGH)], Letters::InWords, fillers, search).await
}

/// How likely a message is about the topic, 0 to 1.
pub(crate) fn probability(classifier: &Classifier, message: &str, vectors: Vectors<'_>) -> f32 {
    let score = classifier.scores(message, vectors)[0];
    1.0 / (1.0 + (-SHARPNESS * score).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_learned_from_are_texts_and_labels_and_not_tests() {
        let example = |text: &str, topic, split| Example { text: text.into(), topic, split };
        let examples = [
            example("가", Topic::On, Split::Tune),
            example("라", Topic::On, Split::Test),
            example("나", Topic::Off, Split::Tune),
        ];
        assert_eq!(learned_from(&examples).collect::<Vec<_>>(), ["가", "on", "나", "off"]);
    }
}
