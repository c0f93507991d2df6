//! What is understood before anything is searched for or written: distress, insults, short replies, categories, places and
//! jobs.

use leafresh_chat::{Catalog, Files, Recommender, Refusal, Split, Understood, understand};
use serde::Deserialize;

use super::data::lines_of;
use super::measures::Measure;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Distressed {
    text: String,
    kind: Kind,
    split: Split,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Distress,
    Danger,
    None,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Labelled {
    text: String,
    split: Split,
}

/// What a person would remember of a message.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Mention {
    text: String,
    category: Option<String>,
    /// Categories that are excluded.
    not: Vec<String>,
    location: Option<String>,
    work_type: Option<String>,
    split: Split,
}

/// What a message tells of where its writer lives and works: a code, or their own words for it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Person {
    text: String,
    location: Option<String>,
    work_type: Option<String>,
    split: Split,
}

impl From<&Mention> for Person {
    fn from(Mention { text, location, work_type, split, .. }: &Mention) -> Self {
        let (text, location, work_type) = (text.clone(), location.clone(), work_type.clone());
        Self { text, location, work_type, split: *split }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Conversation {
    turns: Vec<String>,
    /// The category that was chosen before.
    base: Option<String>,
    expect: String,
    number: Option<usize>,
    /// Where it stands at the end: nothing for any other one than before.
    category: Option<String>,
    #[serde(default)]
    also: Vec<String>,
    split: Split,
}

/// The figures, and what was misunderstood.
pub(super) struct Report {
    pub(super) measures: Vec<Measure>,
    pub(super) wrong: Vec<String>,
}

impl Report {
    fn share<T>(
        &mut self,
        key: &str,
        definition: &str,
        cases: &[T],
        text: impl Fn(&T) -> String,
        right: impl Fn(&T) -> bool,
    ) -> Measure {
        let wrong = cases.iter().filter(|case| !right(case));
        self.wrong.extend(wrong.map(|case| format!("{key}: {}", text(case))));
        Measure::share(key, cases.iter().map(right), definition).more(1.0)
    }
}

/// Who says why a message gets a fixed reply.
pub(super) trait Gate {
    async fn refusal(&self, message: &str) -> anyhow::Result<Option<Refusal>>;
    /// What is understood of a conversation's last message.
    async fn understand(&self, base: Option<&str>, turns: &[&str]) -> anyhow::Result<Understood>;
}

impl Gate for Recommender {
    async fn refusal(&self, message: &str) -> anyhow::Result<Option<Refusal>> {
        Ok(self.refusal(message).await?)
    }

    async fn understand(&self, base: Option<&str>, turns: &[&str]) -> anyhow::Result<Understood> {
        Ok(self.understand(base, turns).await?)
    }
}

/// # Errors
/// With file and line, when the labelled data can't be used.
pub(super) async fn measure(files: &Files, catalog: &Catalog, gate: &impl Gate) -> anyhow::Result<Report> {
    let blind = files.has(&format!("{BLIND}/distress.jsonl"));
    measure_by(if blind { BLIND } else { OWN }, files, catalog, gate).await
}

/// Written by somebody who had seen neither word lists nor other examples.
const BLIND: &str = "eval/blind";
/// Written by who wrote the word lists: its test halves flatter them, and show only what becomes worse.
const OWN: &str = "eval";

async fn measure_by(
    folder: &str,
    files: &Files,
    catalog: &Catalog,
    gate: &impl Gate,
) -> anyhow::Result<Report> {
    let mut report = Report { measures: Vec::new(), wrong: Vec::new() };
    alarms(folder, files, gate, &mut report).await?;
    conversation(folder, files, catalog, gate, &mut report).await?;
    Ok(report)
}

/// Messages with what the gate says of them.
async fn judged<T>(
    messages: Vec<T>,
    text: impl Fn(&T) -> &str,
    gate: &impl Gate,
) -> anyhow::Result<Vec<(T, Option<Refusal>)>> {
    let mut judged = Vec::with_capacity(messages.len());
    for message in messages {
        let refusal = gate.refusal(text(&message)).await?;
        judged.push((message, refusal));
    }
    Ok(judged)
}

async fn alarms(folder: &str, files: &Files, gate: &impl Gate, report: &mut Report) -> anyhow::Result<()> {
    let distressed = test_half(files, &format!("{folder}/distress.jsonl"), |one: &Distressed| one.split)?;
    let distressed = judged(distressed, |one| &one.text, gate).await?;
    let (idioms, people): (Vec<_>, Vec<_>) =
        distressed.into_iter().partition(|(one, _)| one.kind == Kind::None);
    let emergency = |refusal: &Option<Refusal>| match refusal {
        Some(Refusal::Distress) => Kind::Distress,
        Some(Refusal::Danger) => Kind::Danger,
        _ => Kind::None,
    };
    let text = |(one, refusal): &(Distressed, Option<Refusal>)| {
        format!("{} is {:?}, taken for {:?}", one.text, one.kind, emergency(refusal))
    };
    let right = |(one, refusal): &(Distressed, Option<Refusal>)| emergency(refusal) == one.kind;
    let recognised = report
        .share(
            "distress_recognised",
            "messages of people in distress or danger that get the reply for it",
            &people,
            text,
            right,
        )
        .goal(98.0);
    let passed = report
        .share("idioms_passed", "messages that only sound like distress or danger", &idioms, text, right)
        .goal(98.0);
    let of = |name: &str| test_half(files, &format!("{folder}/{name}.jsonl"), |one: &Labelled| one.split);
    let innocents = judged(of("innocents")?, |one| &one.text, gate).await?;
    let insulting = judged(of("insulting")?, |one| &one.text, gate).await?;
    let insult = |(_, refusal): &(Labelled, Option<Refusal>)| *refusal == Some(Refusal::Insult);
    let text = |(one, _): &(Labelled, Option<Refusal>)| one.text.clone();
    let innocent = report
        .share(
            "innocents_passed",
            "innocent messages with syllables of insults that are not taken for any",
            &innocents,
            text,
            |one| !insult(one),
        )
        .goal(99.5);
    let caught = report.share("insults_caught", "insults that are caught", &insulting, text, insult);
    report.measures.extend([recognised, passed, innocent, caught]);
    Ok(())
}

async fn conversation(
    folder: &str,
    files: &Files,
    catalog: &Catalog,
    gate: &impl Gate,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mentions = test_half(files, &format!("{folder}/mentions.jsonl"), |one: &Mention| one.split)?;
    let text = |one: &Mention| one.text.clone();
    let said = |one: &Mention| understand(catalog, None, &[&one.text]);
    let mut people: Vec<Person> = mentions.iter().map(Person::from).collect();
    people.extend(test_half(files, &format!("{folder}/people.jsonl"), |one: &Person| one.split)?);
    let place_and_job = report
        .share(
            "place_and_job",
            "messages of which just the place and the job are remembered that are the person's own",
            &people,
            |one| {
                let said = understand(catalog, None, &[&one.text]);
                let wanted = (&one.location, &one.work_type);
                format!("{}: {:?}, not {wanted:?}", one.text, (said.location, said.work_type))
            },
            |one| {
                let said = understand(catalog, None, &[&one.text]);
                said.remembers(one.location.as_deref(), one.work_type.as_deref(), catalog)
            },
        )
        .goal(97.0);
    let excluded = report.share(
        "exclusions_right",
        "messages of which just the categories are excluded that the person excludes",
        &mentions,
        text,
        |one| said(one).excluded == one.not,
    );
    let category = report.share(
        "category_in_words",
        "messages whose words, without search, tell the category or that there is none",
        &mentions,
        text,
        |one| said(one).category == one.category,
    );
    let conversations = test_half(files, &format!("{folder}/turns.jsonl"), |one: &Conversation| one.split)?;
    let mut last = Vec::with_capacity(conversations.len());
    for one in &conversations {
        let turns: Vec<&str> = one.turns.iter().map(String::as_str).collect();
        last.push((one, gate.understand(one.base.as_deref(), &turns).await?));
    }
    let turns = |one: &Conversation| one.turns.join(" / ");
    let moved = report
        .share(
            "category_after_turn",
            "conversations that stand in the right category after their last message",
            &last,
            |(one, last)| format!("{} stands in {}, not {:?}", turns(one), last.after, one.category),
            |(one, last)| is_in_place(one, last.before.as_deref(), &last.after),
        )
        .goal(95.0);
    let replies = report.share(
        "replies_understood",
        "conversations whose last message is told right: consent, refusal, a number, back, another one, or none of these",
        &last,
        |(one, last)| format!("{}: {:?}, not {}", turns(one), last.says, one.expect),
        |(one, last)| {
            let expected = if matches!(&*one.expect, "category" | "question") { "" } else { &one.expect };
            last.says == expected && last.number == one.number
        },
    );
    report.measures.extend([place_and_job, excluded, category, moved, replies]);
    Ok(())
}

fn is_in_place(one: &Conversation, before: Option<&str>, after: &str) -> bool {
    match &one.category {
        Some(category) => after == category || one.also.iter().any(|also| also == after),
        None => before != Some(after),
    }
}

fn test_half<T: serde::de::DeserializeOwned>(
    files: &Files,
    name: &str,
    split: impl Fn(&T) -> Split,
) -> anyhow::Result<Vec<T>> {
    let lines = lines_of::<T>(files, name)?.into_iter().map(|(_, line)| line);
    Ok(lines.filter(|line| split(line) == Split::Test).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lists of words, as they count without an embedding model.
    struct Lists(Catalog);

    impl Gate for Lists {
        async fn refusal(&self, message: &str) -> anyhow::Result<Option<Refusal>> {
            Ok(understand(&self.0, None, &[message]).refusal)
        }

        async fn understand(&self, base: Option<&str>, turns: &[&str]) -> anyhow::Result<Understood> {
            Ok(understand(&self.0, base, turns))
        }
    }

    #[tokio::test]
    async fn what_is_reported_is_measured_by_messages_that_no_word_list_was_written_for() {
        let files = Files::built_in();
        let lists = Lists(Catalog::of(&files).unwrap());
        let blind = measure_by(BLIND, &files, &lists.0, &lists).await.unwrap();
        let own = measure_by(OWN, &files, &lists.0, &lists).await.unwrap();
        let reported = measure(&files, &lists.0, &lists).await.unwrap();
        assert_eq!(reported.wrong, blind.wrong);
        assert_ne!(reported.wrong, own.wrong);
    }

    #[tokio::test]
    async fn every_figure_reaches_its_goal_and_is_made_of_many_messages() {
        let files = Files::built_in();
        let lists = Lists(Catalog::of(&files).unwrap());
        let report = measure_by(OWN, &files, &lists.0, &lists).await.unwrap();
        assert_eq!(report.measures.len(), 9);
        for measure in &report.measures {
            println!("{} {:?}", measure.figure.key, measure.figure.value);
            let goal = measure.goal_line();
            assert!(goal.as_ref().is_none_or(|line| line.ends_with(" ok")), "{goal:?}: {:?}", report.wrong);
        }
        let caught = report.measures.iter().find(|one| one.figure.key == "insults_caught").unwrap();
        assert!(caught.figure.value.unwrap() >= 97.0, "{:?}", report.wrong);
    }

    #[test]
    fn a_conversation_that_should_go_anywhere_else_may_not_stay() {
        let conversation = |category: Option<&str>| Conversation {
            turns: Vec::new(),
            base: None,
            expect: "another".into(),
            number: None,
            category: category.map(String::from),
            also: vec!["C".into()],
            split: Split::Test,
        };
        for (category, before, after, right) in [
            (None, "A", "B", true),
            (None, "A", "A", false),
            (Some("B"), "A", "B", true),
            (Some("B"), "A", "C", true),
            (Some("B"), "A", "A", false),
        ] {
            assert_eq!(is_in_place(&conversation(category), Some(before), after), right);
        }
    }
}
