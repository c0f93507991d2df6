//! Answers that are read: sixty are drawn, a reader marks each of their sentences, and the marks are counted.
//!
//! What no rule sees is whether an answer makes sense to the person who asked. A form has all that a reader needs, and notices when
//! something else than marks was written into it.

mod draw;
mod form;
mod marks;

use std::path::Path;

use anyhow::Context;
use leafresh_chat::{Catalog, Command};

use self::form::{Form, Read};
use super::answers::{Answer, Record};
use super::measures::Measure;

/// The form for these answers, in their order.
///
/// # Errors
/// When one of them failed: what nobody answered can't be read.
pub(super) fn form(records: &[Record], catalog: &Catalog, seed: u64) -> anyhow::Result<String> {
    let answers = records.iter().map(|record| {
        let asked = asked(&record.task.command, catalog);
        let reason = record.fault.clone().unwrap_or_else(|| "no answer".into());
        let answer = record.answer.as_ref().filter(|_| record.fault.is_none());
        let answer = answer.with_context(|| format!("{asked}: {reason}; nothing was written"))?;
        Ok((asked, sentences(answer)))
    });
    Ok(Form { seed, answers: answers.collect::<anyhow::Result<_>>()? }.print())
}

/// What a reader found, as it is printed.
///
/// # Errors
/// With file and line, when the form isn't filled in whole or was changed.
pub(super) fn read(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
    let answers = marks::read(&text)
        .map_err(|(line, reason)| anyhow::anyhow!("{} line {line}: {reason}", path.display()))?;
    Ok(report(&answers))
}

fn report(answers: &[Read]) -> String {
    let every = |answer: &&Read| answer.sentences.iter().all(|sentence| sentence.sensible);
    let sensible = answers.iter().filter(every).count();
    let sentences = || answers.iter().flat_map(|answer| &answer.sentences);
    let opened = answers
        .iter()
        .map(|answer| answer.sentences.iter().take_while(|one| !one.is_title()).all(|one| one.sensible));
    let mut text = format!("{sensible} of {} answers are sensible in every sentence\n", answers.len());
    for measure in [
        Measure::share("answers", answers.iter().map(|answer| every(&answer)), "sensible in every sentence"),
        Measure::share("openings", opened, "sensible in every sentence before the first challenge"),
        Measure::share("sentences", sentences().map(|sentence| sentence.sensible), "titles count as one"),
    ] {
        text.extend([format!(
            "{} {} %: {}\n",
            measure.figure.key,
            measure.cell(),
            measure.figure.definition
        )]);
    }
    let mut asked = "";
    for answer in answers {
        for sentence in answer.sentences.iter().filter(|sentence| !sentence.sensible) {
            if asked != answer.asked {
                asked = &answer.asked;
                text.extend([format!("\n{asked}\n")]);
            }
            let remark =
                if sentence.remark.is_empty() { String::new() } else { format!(" ({})", sentence.remark) };
            text.extend([format!("  {}{remark}\n", sentence.text)]);
        }
    }
    text
}

/// What somebody asked, as a reader should see it.
fn asked(command: &Command, catalog: &Catalog) -> String {
    match command {
        Command::FreeText(request) => request.message.clone(),
        Command::BaseInfo(request) => {
            let label = |term: Option<&leafresh_chat::Term>, text: &str| {
                term.map_or_else(|| text.to_owned(), |term| term.label.clone())
            };
            let category = catalog.category(&request.category);
            [
                label(catalog.place(&request.location), &request.location),
                label(catalog.work_type(&request.work_type), &request.work_type),
                category.map_or_else(|| request.category.clone(), |category| category.label.clone()),
            ]
            .join(" · ")
        }
    }
}

/// An answer's sentences and titles, in their order; titles with their number.
fn sentences(answer: &Answer) -> Vec<String> {
    let split = |text: &str| -> Vec<String> {
        text.split_inclusive(['.', '!', '?'])
            .map(|sentence| sentence.trim().to_owned())
            .filter(|text| !text.is_empty())
            .collect()
    };
    let mut all = split(&answer.recommend);
    for (index, challenge) in answer.challenges.iter().enumerate() {
        all.push(format!("{}. {}", index + 1, challenge.title));
        all.extend(split(&challenge.description));
    }
    all
}

#[cfg(test)]
mod tests;
