//! `answer.toml`: how an answer looks, and the program that it makes.

use std::collections::BTreeMap;

use leafresh_engine::{Grammar, Program, Segment, Slot};
use serde::Deserialize;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::{Category, Document, Files, Season, source};
use crate::Error;
use crate::event::Grounding;

/// Challenges in an answer: the contract's number.
pub(crate) const CHALLENGES: usize = 3;

/// `answer.toml`, with the pieces put into the patterns.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Form {
    pieces: BTreeMap<String, String>,
    recommend: Part,
    title: Part,
    description: Part,
    pub(crate) grounding: GroundingForm,
    pub(crate) sampling: SamplingForm,
    pub(crate) fallback: Endings,
}

/// What a program is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// The model says whom it recommends to; else only what suits them.
    pub(crate) describes: bool,
    pub(crate) grounding: Grounding,
}

/// Sentences by authors, one of which opens the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) sentences: Vec<String>,
    /// They are the first document's: it is the first challenge.
    pub(crate) of_first: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    pattern: String,
    /// For models that choose among documents; without it `pattern` is for all.
    select_pattern: Option<String>,
    /// The same, where the person isn't described: for answers to a message, and to places and work in their own words.
    message_pattern: Option<String>,
    max_tokens: usize,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroundingForm {
    pub(crate) documents: usize,
    /// For choices they are drawn from the best so many; for a message the best so many are taken.
    pub(crate) pool: usize,
    pub(crate) for_message: usize,
    pub(crate) select_below_parameters: u64,
    /// Hours ahead of UTC, for the season.
    #[serde(default = "seoul")]
    utc_offset_hours: i8,
}

fn seoul() -> i8 {
    9
}

impl GroundingForm {
    /// The season now, where the catalogue's people live.
    pub(crate) fn season(&self) -> Season {
        let there = OffsetDateTime::now_utc() + Duration::hours(self.utc_offset_hours.into());
        match u8::from(there.month()) {
            3..=5 => Season::Spring,
            6..=8 => Season::Summer,
            9..=11 => Season::Autumn,
            _ => Season::Winter,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SamplingForm {
    pub(crate) exempt: Vec<String>,
}

impl Form {
    pub(crate) fn load(files: &Files) -> Result<Self, Error> {
        let (text, path) = source::read(files, "answer.toml")?;
        let mut form: Self = source::from_toml(&text, &path)?;
        let line = |key: &str| source::line_of(&text, text.find(key).unwrap_or(0));
        let counts = [("documents", form.grounding.documents), ("for_message", form.grounding.for_message)];
        for (key, count) in counts {
            if count < CHALLENGES {
                let reason = format!("`{key}` is {count}, but an answer needs {CHALLENGES}");
                return Err(source::error_on_line(&path, line(&format!("\n{key} =")) + 1, reason));
            }
        }
        for sentence in form.fallback.texts().filter(|text| !text.is_empty()) {
            source::check_line(sentence.trim_start()).map_err(|reason| {
                source::error_on_line(&path, line(sentence), format!("`fallback`: a text {reason}"))
            })?;
        }
        let pieces = form.pieces.clone();
        let parts = [
            ("recommend", &mut form.recommend),
            ("title", &mut form.title),
            ("description", &mut form.description),
        ];
        for (key, part) in parts {
            let patterns = [&mut part.pattern]
                .into_iter()
                .chain(&mut part.select_pattern)
                .chain(&mut part.message_pattern);
            for pattern in patterns {
                *pattern = fill(pattern, &pieces, pieces.len()).map_err(|reason| {
                    source::error_on_line(&path, line(&format!("[{key}]")), format!("`pattern`: {reason}"))
                })?;
            }
        }
        Ok(form)
    }

    /// The program of one answer: what the reader sees, with slots where the model writes. Where there is an `opening` it
    /// chooses among its sentences.
    ///
    /// # Errors
    /// [`Error::Engine`] when the documents don't make a program (fewer than three titles to select from).
    pub(crate) fn program(
        &self,
        shape: Shape,
        category: &Category,
        documents: &[&Document],
        opening: Option<&Opening>,
    ) -> Result<Program, Error> {
        let mut recommend = self.recommend.slot("recommend".into(), shape, category);
        if let Some(opening) = opening {
            recommend.grammar = Grammar::Choices(opening.sentences.clone());
        }
        let mut segments = vec![Segment::Slot(recommend)];
        for number in 1..=CHALLENGES {
            segments.push(Segment::Fixed(format!("\n\n{number}. ")));
            let mut title = self.title.slot(format!("title_{number}"), shape, category);
            title.distinct_from = (1..number).map(title_slot).collect();
            let mut description = self.description.slot(format!("description_{number}"), shape, category);
            if shape.grounding == Grounding::Select {
                let known = number == 1 && opening.is_some_and(|opening| opening.of_first);
                let choices = if known { &documents[..documents.len().min(1)] } else { documents };
                title.grammar =
                    Grammar::Choices(choices.iter().map(|document| document.title.clone()).collect());
                let texts = |document: &&Document| {
                    (document.title.clone(), vec![document.text.clone(), document.short.clone()])
                };
                description.grammar =
                    Grammar::Lookup { of: title_slot(number), table: documents.iter().map(texts).collect() };
            }
            segments.extend([Segment::Slot(title), Segment::Fixed("\n".into()), Segment::Slot(description)]);
        }
        Ok(Program::new(segments)?)
    }

    /// The answer's JSON schema (draft 2020-12), for engines that take one instead of a program.
    pub(crate) fn schema(
        &self,
        shape: Shape,
        category: &Category,
        documents: &[&Document],
        opening: Option<&Opening>,
    ) -> Value {
        let text = |part: &Part| json!({"type": "string", "pattern": format!("^(?:{})$", part.pattern(shape, category))});
        let challenge = |title: Value, description: Value| {
            json!({
                "type": "object",
                "properties": {"title": title, "description": description},
                "required": ["title", "description"],
                "additionalProperties": false,
            })
        };
        let items = if shape.grounding == Grounding::Select {
            let choices = documents.iter().map(|document| {
                challenge(json!({"const": document.title}), json!({"enum": [document.text, document.short]}))
            });
            json!({"anyOf": choices.collect::<Vec<_>>()})
        } else {
            challenge(text(&self.title), text(&self.description))
        };
        json!({
            "type": "object",
            "properties": {
                "recommend": opening.map_or_else(|| text(&self.recommend), |opening| json!({"enum": opening.sentences})),
                "challenges": {"type": "array", "items": items, "minItems": CHALLENGES, "maxItems": CHALLENGES},
            },
            "required": ["recommend", "challenges"],
            "additionalProperties": false,
        })
    }
}

impl Part {
    /// The pattern for a request in this category.
    fn pattern(&self, shape: Shape, category: &Category) -> String {
        let message = self.message_pattern.as_ref().filter(|_| !shape.describes);
        let select =
            message.or(self.select_pattern.as_ref()).filter(|_| shape.grounding == Grounding::Select);
        select.unwrap_or(&self.pattern).replace(CATEGORY, &escape(&category.label))
    }

    fn slot(&self, name: String, shape: Shape, category: &Category) -> Slot {
        let grammar = Grammar::Regex(self.pattern(shape, category));
        Slot { name, grammar, max_tokens: self.max_tokens, distinct_from: Vec::new(), stop: Vec::new() }
    }
}

/// Stands in a pattern for the label of the category asked for.
const CATEGORY: &str = "{category}";

/// Makes every character of a text match only itself. No other character is escaped: engines that take the pattern as a
/// part of a JSON schema know no `\ `, and some then drop the whole pattern.
fn escape(text: &str) -> String {
    text.chars().flat_map(|c| r"\.+*?()|[]{}^$".contains(c).then_some('\\').into_iter().chain([c])).collect()
}

/// Slot 0 is the recommendation; each challenge has a title and a description.
pub(crate) fn title_slot(number: usize) -> usize {
    2 * number - 1
}

/// Puts pieces in for `{name}`; quantifiers such as `{2,5}` hold no letters and stay. `depth` bounds pieces in pieces.
fn fill(pattern: &str, pieces: &BTreeMap<String, String>, depth: usize) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = pattern;
    while let Some(open) = rest.find('{') {
        let (before, after) = rest.split_at(open);
        filled.push_str(before);
        let close = after.find('}').ok_or("a `{` without its `}`")?;
        let name = &after[1..close];
        if &after[..=close] == CATEGORY {
            filled.push_str(CATEGORY); // Each request has its own.
        } else if name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
            let piece = pieces.get(name).ok_or_else(|| format!("there is no piece `{name}` in [pieces]"))?;
            let inner = depth.checked_sub(1).ok_or_else(|| format!("piece `{name}` contains itself"))?;
            filled.push_str(&fill(piece, pieces, inner)?);
        } else {
            filled.push_str(&after[..=close]);
        }
        rest = &after[close + 1..];
    }
    filled.push_str(rest);
    Ok(filled)
}

/// Sentences and endings for answers that the model doesn't finish: `[fallback]` of `answer.toml`. `{category}` is the
/// label of the category asked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Endings {
    /// The whole opening sentence.
    pub(crate) recommend: String,
    /// How a sentence, a title and a description that were begun may end.
    pub(crate) recommend_ends: Vec<String>,
    pub(crate) title_ends: Vec<String>,
    pub(crate) description_ends: Vec<String>,
}

impl Endings {
    /// Every text in it, for checks.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &String> {
        let ends = self.recommend_ends.iter().chain(&self.title_ends).chain(&self.description_ends);
        [&self.recommend].into_iter().chain(ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SELECT: Shape = Shape { describes: true, grounding: Grounding::Select };

    fn catalog() -> crate::Catalog {
        crate::Catalog::of(&Files::built_in()).unwrap()
    }

    #[test]
    fn pieces_are_put_in_for_their_names_and_quantifiers_stay() {
        let pieces = BTreeMap::from([("a".into(), "[가-힣]".into()), ("b".into(), "{a}{2}".into())]);
        for (pattern, expected) in [
            ("{b}{3,5}x", Ok("[가-힣]{2}{3,5}x")),
            ("{category}{a}", Ok("{category}[가-힣]")),
            ("{c}", Err("no piece `c`")),
            ("{a", Err("without its `}`")),
        ] {
            match (fill(pattern, &pieces, pieces.len()), expected) {
                (Ok(filled), Ok(expected)) => assert_eq!(filled, expected),
                (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
                (filled, expected) => panic!("{pattern}: {filled:?}, not {expected:?}"),
            }
        }
        let circle = BTreeMap::from([("a".into(), "{b}".into()), ("b".into(), "{a}".into())]);
        assert!(fill("{a}", &circle, circle.len()).unwrap_err().contains("contains itself"));
    }

    #[test]
    fn the_schema_says_what_the_program_says() {
        let catalog = catalog();
        let category = &catalog.categories()[0];
        let documents = catalog.fitting(&category.code, None, None);
        let schema = catalog.form().schema(SELECT, category, &documents[..4], None);
        assert_eq!(schema["properties"]["challenges"]["minItems"], 3);
        let choices = schema["properties"]["challenges"]["items"]["anyOf"].as_array().unwrap();
        assert_eq!(choices.len(), 4);
        assert_eq!(choices[0]["properties"]["title"]["const"], *documents[0].title);
        let pattern = schema["properties"]["recommend"]["pattern"].as_str().unwrap();
        assert!(pattern.contains(&category.label) && !pattern.contains("{category}"), "{pattern}");
    }

    #[test]
    fn a_label_in_a_pattern_stands_for_itself_and_its_spaces_stay_as_they_are() {
        for (label, escaped) in
            [("에너지 절약", "에너지 절약"), ("a.b (c+d)^|", r"a\.b \(c\+d\)\^\|"), ("-%/\"", "-%/\"")]
        {
            assert_eq!(escape(label), escaped);
        }
    }
}
