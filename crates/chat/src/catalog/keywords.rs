//! `keywords.toml`: what is understood without a model.

use std::collections::BTreeMap;

use regex::Regex;
use serde::Deserialize;

use super::Files;
use super::choices::Lists;
use super::source::{self, error_on_line, line_of, suggest};
use crate::Error;
use crate::words::{Term, Words};

const KEYWORDS: &str = "keywords.toml";

#[derive(Debug)]
pub(crate) struct Keywords {
    pub(crate) wishes: Wishes,
    /// With the code that each stands for; labels, codes and aliases of `categories.toml` too.
    pub(crate) categories: Vec<(String, Term)>,
    pub(crate) places: Vec<(String, Term)>,
    pub(crate) work_types: Vec<(String, Term)>,
    pub(crate) mentions: Mentions,
    pub(crate) keyboard_runs: Vec<String>,
    pub(crate) on_topic: Vec<Term>,
    pub(crate) off_topic: Vec<Term>,
    particles: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Wishes {
    pub(crate) restore: Vec<Term>,
    pub(crate) another: Vec<Term>,
    pub(crate) except: Vec<String>,
    pub(crate) follow_up: Vec<Term>,
}

#[derive(Debug)]
pub(crate) struct Mentions {
    pub(crate) place: Regex,
    pub(crate) work: Regex,
    pub(crate) ignore: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    particles: Vec<String>,
    wishes: WishesTable,
    #[serde(default)]
    categories: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    places: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    work_types: BTreeMap<String, Vec<String>>,
    mentions: MentionsTable,
    nonsense: NonsenseTable,
    topic: TopicTable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WishesTable {
    restore: Vec<String>,
    another: Vec<String>,
    except: Vec<String>,
    follow_up: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MentionsTable {
    place: String,
    work: String,
    ignore: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NonsenseTable {
    runs: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicTable {
    on: Vec<String>,
    off: Vec<String>,
}

impl Keywords {
    pub(super) fn load(files: &Files, lists: &Lists) -> Result<Self, Error> {
        let (text, path) = source::read(files, KEYWORDS)?;
        let file: File = source::from_toml(&text, &path)?;
        let fail = |key: &str, reason: String| {
            error_on_line(&path, line_of(&text, text.find(key).unwrap_or(0)), reason)
        };
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
                return Err(fail(code, reason));
            }
        }
        let group = |key: &str, pattern: &str| match Regex::new(pattern) {
            Ok(regex) if regex.captures_len() > 1 => Ok(regex),
            Ok(_) => Err(fail(&format!("{key} ="), format!("`mentions.{key}` has no group to remember"))),
            Err(error) => Err(fail(&format!("{key} ="), format!("`mentions.{key}`: {error}"))),
        };
        let terms = |words: &[String]| words.iter().map(|word| Term::new(word)).collect::<Vec<_>>();
        let mut named = Vec::new();
        for item in categories {
            let names = [&item.code, &item.label].into_iter().chain(&item.aliases);
            named.extend(names.map(|name| (item.code.clone(), Term::new(name))));
        }
        let coded = |items: &[super::Term], more: &BTreeMap<String, Vec<String>>| {
            let own = items.iter().flat_map(|item| {
                let names = [&item.label].into_iter().chain(&item.aliases);
                names.map(|name| (item.code.clone(), Term::new(name)))
            });
            own.chain(with_codes(more)).collect::<Vec<_>>()
        };
        let (places, work_types) = (coded(places, &file.places), coded(work_types, &file.work_types));
        named.extend(with_codes(&file.categories));
        Ok(Self {
            wishes: Wishes {
                restore: terms(&file.wishes.restore),
                another: terms(&file.wishes.another),
                except: file.wishes.except,
                follow_up: terms(&file.wishes.follow_up),
            },
            categories: named,
            places,
            work_types,
            mentions: Mentions {
                place: group("place", &file.mentions.place)?,
                work: group("work", &file.mentions.work)?,
                ignore: file.mentions.ignore,
            },
            keyboard_runs: file.nonsense.runs,
            on_topic: terms(&file.topic.on),
            off_topic: terms(&file.topic.off),
            particles: file.particles,
        })
    }

    /// The message as these words are looked for in it.
    pub(crate) fn words<'a>(&'a self, message: &str) -> Words<'a> {
        Words::new(message, &self.particles)
    }
}

fn with_codes(words: &BTreeMap<String, Vec<String>>) -> impl Iterator<Item = (String, Term)> {
    words.iter().flat_map(|(code, words)| words.iter().map(|word| (code.clone(), Term::new(word))))
}
