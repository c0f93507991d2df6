//! `keywords.toml`: what is understood without a model.

mod compiler;
mod file;
mod mentions;

use std::collections::{BTreeMap, HashSet};

use regex::Regex;

use super::Files;
use super::choices::Lists;
use super::source::{self, suggest};
use crate::Error;
use crate::words::{Term, Words};
use compiler::Compiler;
pub(crate) use compiler::Said;
use file::File;
pub(crate) use mentions::{Coded, Mentions};

const KEYWORDS: &str = "keywords.toml";

#[derive(Debug)]
pub(crate) struct Keywords {
    pub(crate) wishes: Wishes,
    pub(crate) replies: ShortReplies,
    /// The names of `categories.toml`, then words for what a category is about.
    pub(crate) categories: Vec<(Named, Term)>,
    /// With the code that each stands for; labels and aliases of `categories.toml` too.
    pub(crate) places: Coded,
    pub(crate) work_types: Coded,
    pub(crate) mentions: Mentions,
    pub(crate) keyboard_runs: Vec<String>,
    pub(crate) on_topic: Vec<Term>,
    pub(crate) off_topic: Vec<Term>,
    particles: Vec<String>,
}

/// What a word for a category stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) code: String,
    /// Its code, label or alias: a thing that it is about can't be excluded.
    pub(crate) by_name: bool,
}

#[derive(Debug)]
pub(crate) struct Wishes {
    pub(crate) restore: Vec<Term>,
    pub(crate) another: Vec<Term>,
    pub(crate) excluded: Said,
    pub(crate) also: HashSet<String>,
    pub(crate) follow_up: Vec<Term>,
}

/// Answers of a few words, as [`ShortReplies::squeezed`] has them.
#[derive(Debug)]
pub(crate) struct ShortReplies {
    pub(crate) consent: HashSet<String>,
    pub(crate) refusal: HashSet<String>,
    pub(crate) filler: HashSet<String>,
    pub(crate) numbers: Vec<HashSet<String>>,
    /// For each number, where it is mentioned in a sentence; and what turns down what is mentioned.
    pub(crate) mentioned: Vec<Regex>,
    pub(crate) turned_down: Regex,
    pub(crate) question: Vec<Term>,
    laughter: String,
}

impl ShortReplies {
    /// Without spaces, signs and laughter, the same letter again counting once.
    pub(crate) fn squeezed(&self, message: &str) -> String {
        squeezed(message, &self.laughter)
    }
}

/// Symbols from the arrows on may be emoji, which say something.
const FIRST_SYMBOL: char = '\u{2190}';
/// Asks for a coloured emoji.
const EMOJI: char = '\u{FE0F}';

fn squeezed(message: &str, laughter: &str) -> String {
    let mut squeezed = String::new();
    let counts = |c: &char| {
        (c.is_alphanumeric() || *c > FIRST_SYMBOL && !c.is_whitespace() && *c != EMOJI)
            && !laughter.contains(*c)
    };
    for c in message.chars().filter(counts).flat_map(char::to_lowercase) {
        if !squeezed.ends_with(c) || c.is_numeric() {
            squeezed.push(c);
        }
    }
    squeezed
}

impl Keywords {
    pub(super) fn load(files: &Files, lists: &Lists) -> Result<Self, Error> {
        let (text, path) = source::read(files, KEYWORDS)?;
        let file: File = source::from_toml(&text, &path)?;
        let compiler = Compiler { text: &text, path: &path, parts: &file.mentions.parts };
        let categories = lists.categories.items();
        let (places, work_types) = (lists.places.items(), lists.work_types.items());
        let known = [
            ("categories", &file.categories, categories.iter().map(|item| &*item.code).collect::<Vec<_>>()),
            ("places", &file.places, places.iter().map(|item| &*item.code).collect()),
            ("work_types", &file.work_types, work_types.iter().map(|item| &*item.code).collect()),
        ];
        for (list, words, codes) in &known {
            if let Some(code) = words.keys().find(|code| !codes.contains(&code.as_str())) {
                let reason =
                    format!("`{list}`: categories.toml has no code `{code}`; {}", suggest(code, codes));
                return Err(compiler.fail(code, reason));
            }
        }
        let terms = |words: &[String]| words.iter().map(|word| Term::new(word)).collect::<Vec<_>>();
        let mut named = Vec::new();
        for item in categories {
            let names = [&item.code, &item.label].into_iter().chain(&item.aliases);
            named.extend(
                names.map(|name| (Named { code: item.code.clone(), by_name: true }, Term::new(name))),
            );
        }
        named.extend(with_codes(&file.categories).map(|(code, term)| (Named { code, by_name: false }, term)));
        let coded = |items: &[super::Term], more: &BTreeMap<String, Vec<String>>| {
            let own = items.iter().flat_map(|item| {
                let names = [&item.label].into_iter().chain(&item.aliases);
                names.map(|name| (item.code.clone(), Term::new(name)))
            });
            own.chain(with_codes(more)).collect::<Vec<_>>()
        };
        let (places, work_types) = (coded(places, &file.places), coded(work_types, &file.work_types));
        let (wishes, replies) = (&file.wishes, &file.replies);
        let squeezed_all = |words: &[String]| -> HashSet<String> {
            let all = words.iter().map(|word| squeezed(word, &replies.laughter));
            all.filter(|word| !word.is_empty()).collect()
        };
        Ok(Self {
            wishes: Wishes {
                restore: terms(&wishes.restore),
                another: terms(&wishes.another),
                excluded: compiler
                    .said(("excluded", &wishes.excluded), ("not_excluded", &wishes.not_excluded))?,
                also: wishes.also.iter().cloned().collect(),
                follow_up: terms(&wishes.follow_up),
            },
            replies: ShortReplies {
                consent: squeezed_all(&replies.consent),
                refusal: squeezed_all(&replies.refusal),
                filler: squeezed_all(&replies.filler),
                numbers: replies.numbers.iter().map(|words| squeezed_all(words)).collect(),
                mentioned: replies
                    .mentioned
                    .iter()
                    .map(|pattern| compiler.regex("mentioned", pattern))
                    .collect::<Result<_, _>>()?,
                turned_down: compiler.regex("turned_down", &replies.turned_down)?,
                question: terms(&replies.question),
                laughter: replies.laughter.clone(),
            },
            categories: named,
            places,
            work_types,
            mentions: Mentions::compile(&file.mentions, &compiler)?,
            keyboard_runs: file.nonsense.runs,
            on_topic: terms(&file.topic.on),
            off_topic: terms(&file.topic.off),
            particles: file.particles,
        })
    }

    /// Codes of the places and kinds of work that a message speaks of, whosever they are.
    pub(crate) fn mentioned(&self, message: &str) -> Vec<String> {
        let words = self.words(message);
        let found = [&self.places, &self.work_types].map(|terms| words.coded(terms));
        found.into_iter().flatten().map(|(code, _)| code.clone()).collect()
    }

    /// The message as these words are looked for in it.
    pub(crate) fn words<'a>(&'a self, message: &str) -> Words<'a> {
        Words::new(message, &self.particles)
    }
}

fn with_codes(words: &BTreeMap<String, Vec<String>>) -> impl Iterator<Item = (String, Term)> {
    words.iter().flat_map(|(code, words)| words.iter().map(|word| (code.clone(), Term::new(word))))
}
