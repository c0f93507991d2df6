//! What is meant by a message about challenges that were offered, learned from the catalogue's examples.

use leafresh_retrieval::{QueryVector, Search};

use crate::Error;
use crate::catalog::{Catalog, Intent, Split, Topic};
use crate::guard::{self, Classifier, Cut, Letters, vectors_of};

/// A class for each intent.
pub(crate) const CLASSES: usize = Intent::ALL.len();

/// Of the messages of a class, how many are taken for it: judged by what others taught.
const CUTS: [Cut; CLASSES] = [Cut::Passes(0.985); CLASSES];

/// One of so many messages on the topic is an example of something new, and one of so many off it of nothing.
const NEW: usize = 15;
const NOTHING: usize = 24;

/// Texts and the classes of each.
pub(crate) fn learned_from(catalog: &Catalog) -> Vec<(&str, Vec<usize>)> {
    let examples = catalog.intents().examples.iter();
    let class = |intent: &Intent| Intent::ALL.iter().position(|other| other == intent);
    let labelled = examples
        .map(|example| (example.text.as_str(), example.intents.iter().filter_map(class).collect::<Vec<_>>()));
    let of_topic = |topic: Topic, step: usize| {
        let examples = catalog.examples().iter();
        let examples = examples.filter(move |example| example.split == Split::Tune && example.topic == topic);
        examples.step_by(step).map(|example| example.text.as_str())
    };
    let new = of_topic(Topic::On, NEW).map(|text| (text, class(&Intent::New).into_iter().collect()));
    let nothing = of_topic(Topic::Off, NOTHING).map(|text| (text, Vec::new()));
    labelled.chain(new).chain(nothing).collect()
}

/// Nothing where the catalogue has no examples. Takes some twenty seconds.
///
/// # Errors
/// [`Error::Retrieval`] when the examples can't be embedded.
pub(crate) async fn learn(catalog: &Catalog, search: &Search) -> Result<Option<Classifier>, Error> {
    let fillers = catalog.intents().examples.len();
    if fillers == 0 {
        return Ok(None);
    }
    let (texts, labels): (Vec<String>, Vec<Vec<usize>>) =
        learned_from(catalog).into_iter().map(|(text, classes)| (text.to_owned(), classes)).unzip();
    guard::learn(texts, labels, &CUTS, Letters::Anywhere, fillers, search).await.map(Some)
}

/// All that is meant, the likeliest first: what is clearly, else only that.
pub(crate) fn meant(classifier: &Classifier, message: &str, vector: &QueryVector) -> Vec<Intent> {
    let scores = classifier.scores(message, vectors_of(vector));
    let mut scored: Vec<(f32, Intent)> = scores.into_iter().zip(Intent::ALL).collect();
    scored.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let clear = scored.iter().filter(|(score, _)| *score > 0.0).count().max(1);
    scored.into_iter().take(clear).map(|(_, intent)| intent).collect()
}
