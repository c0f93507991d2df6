//! Which messages are answered and which refused, by examples that the gate has not learned from.

use leafresh_chat::{Example, Recommender, Split, Topic};

use super::measures::Measure;

/// What became of an example.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    text: String,
    topic: Topic,
    /// Why it was refused.
    refusal: Option<&'static str>,
}

pub(super) fn examples(recommender: &Recommender) -> Vec<Example> {
    let examples = recommender.catalog().examples().iter();
    examples.filter(|example| example.split == Split::Test).cloned().collect()
}

/// # Errors
/// When the embedding model fails.
pub(super) async fn judge(recommender: &Recommender, example: &Example) -> anyhow::Result<Judged> {
    let refusal = recommender.refusal(&example.text).await?;
    Ok(Judged {
        text: example.text.clone(),
        topic: example.topic,
        refusal: refusal.map(leafresh_chat::Refusal::name),
    })
}

pub(super) fn measures(judged: &[Judged]) -> Vec<Measure> {
    let of = |topic: Topic| judged.iter().filter(move |judged| judged.topic == topic);
    vec![
        Measure::plain(
            "gate_messages",
            "",
            judged.len() as f64,
            "examples that the gate has not learned from",
        ),
        Measure::share(
            "gate_off_topic_caught",
            of(Topic::Off).map(|judged| judged.refusal.is_some()),
            "messages off the topic that are refused",
        )
        .more(1.0)
        .goal(97.0),
        Measure::share(
            "gate_on_topic_passed",
            of(Topic::On).map(|judged| judged.refusal.is_none()),
            "messages on the topic that are answered",
        )
        .more(1.0)
        .goal(98.0),
    ]
}

/// Those that were judged wrongly.
pub(super) fn wrong(judged: &[Judged]) -> Vec<String> {
    let line = |judged: &Judged| match (judged.topic, judged.refusal) {
        (Topic::On, Some(reason)) => Some(format!("{}: refused as {reason}", judged.text)),
        (Topic::Off, None) => Some(format!("{}: answered", judged.text)),
        _ => None,
    };
    judged.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_mistakes_are_counted_and_listed() {
        let judged = |text: &str, topic, refusal| Judged { text: text.into(), topic, refusal };
        let all = [
            judged("가", Topic::On, None),
            judged("나", Topic::On, Some("off_topic")),
            judged("다", Topic::Off, Some("nonsense")),
            judged("라", Topic::Off, Some("off_topic")),
            judged("마", Topic::Off, Some("insult")),
            judged("바", Topic::Off, None),
        ];
        let measures = measures(&all);
        let value = |key: &str| measures.iter().find(|one| one.figure.key == key).unwrap().figure.value;
        assert_eq!(value("gate_off_topic_caught"), Some(75.0));
        assert_eq!(value("gate_on_topic_passed"), Some(50.0));
        assert_eq!(wrong(&all), ["나: refused as off_topic", "바: answered"]);
    }
}
