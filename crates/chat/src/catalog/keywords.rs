//! `keywords.toml`: what is understood without a model.

mod file;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use regex::{Regex, RegexSet};

use super::Files;
use super::choices::Lists;
use super::source::{self, error_on_line, line_of, suggest};
use crate::Error;
use crate::words::{Term, Words};
use file::File;

const KEYWORDS: &str = "keywords.toml";

#[derive(Debug)]
pub(crate) struct Keywords {
    pub(crate) wishes: Wishes,
    pub(crate) replies: ShortReplies,
    /// The names of `categories.toml`, then words for what a category is about.
    pub(crate) categories: Vec<(Named, Term)>,
    /// With the code that each stands for; labels and aliases of `categories.toml` too.
    pub(crate) places: Vec<(String, Term)>,
    pub(crate) work_types: Vec<(String, Term)>,
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

/// What is said of a place, a job or a category: counts where one of the first matches and none of the second.
#[derive(Debug)]
pub(crate) struct Said {
    yes: RegexSet,
    no: RegexSet,
}

impl Said {
    pub(crate) fn of(&self, marked: &str) -> bool {
        self.yes.is_match(marked) && !self.no.is_match(marked)
    }

    pub(crate) fn denied(&self, marked: &str) -> bool {
        self.no.is_match(marked)
    }
}

#[derive(Debug)]
pub(crate) struct Mentions {
    /// "I": what is said before it is about others.
    pub(crate) myself: Regex,
    pub(crate) living: Said,
    pub(crate) working: Said,
    pub(crate) running: Said,
    /// A place in front of one's work is where one lives.
    pub(crate) there: Regex,
    /// Towns, jobs and shops stand for themselves.
    pub(crate) towns: Vec<(String, Term)>,
    pub(crate) jobs: Vec<(String, Term)>,
    pub(crate) shops: Vec<(String, Term)>,
    /// Any other place or job: the first group.
    pub(crate) place: Regex,
    pub(crate) work: Regex,
    pub(crate) ignore: Vec<String>,
}

impl Keywords {
    pub(super) fn load(files: &Files, lists: &Lists) -> Result<Self, Error> {
        let (text, path) = source::read(files, KEYWORDS)?;
        let file: File = source::from_toml(&text, &path)?;
        let compiler = Compiler { text: &text, path: &path };
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
            mentions: compiler.mentions(&file.mentions)?,
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

    /// Whether a text, or its last word, is a place of the lists.
    pub(crate) fn knows_place(&self, text: &str) -> bool {
        ends_in(text, &[&self.places, &self.mentions.towns])
    }

    /// Whether a text, or its last word, is a kind of work of the lists.
    pub(crate) fn knows_work(&self, text: &str) -> bool {
        ends_in(text, &[&self.work_types, &self.mentions.jobs])
    }
}

fn ends_in(text: &str, lists: &[&[(String, Term)]]) -> bool {
    let last = text.rsplit(' ').next().unwrap_or_default();
    let known = |text: &str| lists.iter().any(|list| list.iter().any(|(_, term)| term.is(text)));
    known(text) || known(last)
}

/// Makes expressions of texts, and says which one is wrong.
struct Compiler<'a> {
    text: &'a str,
    path: &'a Path,
}

impl Compiler<'_> {
    fn fail(&self, key: &str, reason: String) -> Error {
        error_on_line(
            self.path,
            line_of(self.text, self.text.find(key).unwrap_or(0)) + usize::from(key.starts_with('\n')),
            reason,
        )
    }

    fn regex(&self, key: &str, pattern: &str) -> Result<Regex, Error> {
        Regex::new(pattern).map_err(|error| self.fail(&format!("\n{key} ="), format!("`{key}`: {error}")))
    }

    fn set(&self, key: &str, patterns: &[String]) -> Result<RegexSet, Error> {
        let fail = |error| self.fail(&format!("\n{key} ="), format!("`{key}`: {error}"));
        RegexSet::new(patterns).map_err(fail)
    }

    fn said(&self, yes: (&str, &[String]), no: (&str, &[String])) -> Result<Said, Error> {
        Ok(Said { yes: self.set(yes.0, yes.1)?, no: self.set(no.0, no.1)? })
    }

    /// An expression with a group to remember.
    fn group(&self, key: &str, pattern: &str) -> Result<Regex, Error> {
        let regex = self.regex(key, pattern)?;
        if regex.captures_len() > 1 {
            return Ok(regex);
        }
        Err(self.fail(&format!("\n{key} ="), format!("`mentions.{key}` has no group to remember")))
    }

    fn mentions(&self, file: &file::Mentions) -> Result<Mentions, Error> {
        let not_working = ("not_working", &*file.not_working);
        let themselves =
            |words: &[String]| words.iter().map(|word| (word.clone(), Term::new(word))).collect::<Vec<_>>();
        Ok(Mentions {
            myself: self.regex("self", &file.myself)?,
            living: self.said(("living", &file.living), ("not_living", &file.not_living))?,
            working: self.said(("working", &file.working), not_working)?,
            running: self.said(("running", &file.running), not_working)?,
            there: self.regex("there", &file.there)?,
            towns: themselves(&file.towns),
            jobs: themselves(&file.jobs),
            shops: themselves(&file.shops),
            place: self.group("place", &file.place)?,
            work: self.group("work", &file.work)?,
            ignore: file.ignore.clone(),
        })
    }
}

fn with_codes(words: &BTreeMap<String, Vec<String>>) -> impl Iterator<Item = (String, Term)> {
    words.iter().flat_map(|(code, words)| words.iter().map(|word| (code.clone(), Term::new(word))))
}
