//! `intents/`: what people mean who write about challenges that were offered, by labelled examples, and what they are told. A
//! catalogue may have none.

use std::collections::BTreeMap;

use regex::Regex;
use serde::Deserialize;

use super::choices::Lists;
use super::intent::Intent;
use super::replies::fill;
use super::source::{self, check_line, error_on_line, line_of};
use super::tellings::Rules;
use super::{Category, Files};
use crate::Error;
use crate::words::{Term, Words};

const EXAMPLES: &str = "intents/examples.jsonl";
const REPLIES: &str = "intents/replies.toml";

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IntentExample {
    pub(crate) text: String,
    pub(crate) intents: Vec<Intent>,
    /// Which challenge is meant, from 1: for measuring.
    #[serde(rename = "number")]
    _number: Option<usize>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    said: Said,
    lead: Lead,
    time: Vec<Time>,
    company: BTreeMap<String, Vec<String>>,
}

/// How a message says how long something may take.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Time {
    /// A regular expression; what its first group finds is a number.
    pattern: String,
    /// So many for each of that number, or for what has none.
    minutes: u16,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    done: Vec<String>,
    thanks: Vec<String>,
    hello: Vec<String>,
    bye: Vec<String>,
    about: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lead {
    easier: Vec<String>,
    quick: Vec<String>,
    children: Vec<String>,
    company: Vec<String>,
    another: Vec<String>,
    back: Vec<String>,
    exhausted: String,
}

#[derive(Debug, Default)]
pub(crate) struct Intents {
    pub(crate) examples: Vec<IntentExample>,
    said: Said,
    lead: Lead,
    /// The first that matches counts.
    times: Vec<(Regex, u16)>,
    /// With whom, by words.
    company: Vec<(String, Term)>,
}

impl Intents {
    pub(super) fn load(files: &Files, lists: &Lists) -> Result<Self, Error> {
        if !files.has(EXAMPLES) && !files.has(REPLIES) {
            return Ok(Self::default());
        }
        let (text, path) = source::read(files, REPLIES)?;
        let File { said, lead, time, company } = source::from_toml(&text, &path)?;
        let fail = |what: &str, reason: String| {
            error_on_line(&path, line_of(&text, text.find(what).unwrap_or(0)), reason)
        };
        let Said { done, thanks, hello, bye, about } = &said;
        let Lead { easier, quick, children, company: together, another, back, exhausted } = &lead;
        for list in [done, thanks, hello, bye, easier, quick, children, together, another, back] {
            if list.is_empty() {
                return Err(fail("[]", "an empty list; it needs a sentence".into()));
            }
        }
        let whole = [done, thanks, hello, bye].into_iter().flatten();
        let sentences = whole.chain([easier, quick, children, together, another, back].into_iter().flatten());
        for sentence in sentences.chain([about, exhausted]) {
            check_line(sentence).map_err(|reason| fail(sentence, format!("a sentence {reason}")))?;
        }
        if files.has(super::tellings::RULES) {
            let rules = Rules::load(files, lists)?;
            if let Some(unknown) = company.keys().find(|code| !rules.company_codes().contains(code)) {
                let known: Vec<&str> = rules.company_codes().iter().map(String::as_str).collect();
                let reason = format!("`{unknown}` isn't in `company`; {}", source::suggest(unknown, &known));
                return Err(fail(unknown, reason));
            }
        }
        let words = company.iter().flat_map(|(code, words)| words.iter().map(move |word| (code, word)));
        let words = words.map(|(code, word)| (code.clone(), Term::new(word))).collect();
        let compiled = |Time { pattern, minutes }: Time| {
            let regex =
                Regex::new(&pattern).map_err(|error| fail(&pattern, format!("`{pattern}`: {error}")))?;
            Ok((regex, minutes))
        };
        let times = time.into_iter().map(compiled).collect::<Result<Vec<_>, Error>>()?;
        let mut intents = Self { examples: Vec::new(), said, lead, times, company: words };
        source::json_lines(files, &[EXAMPLES.to_owned()], |example: IntentExample| {
            if example.intents.is_empty() {
                return Err("`intents` is empty".into());
            }
            intents.examples.push(example);
            Ok(())
        })?;
        Ok(intents)
    }

    /// Whether there is anything to say.
    pub(crate) fn is_empty(&self) -> bool {
        self.said.about.is_empty()
    }

    /// What is said to somebody who asks for nothing.
    pub(crate) fn said(&self, intent: Intent) -> &[String] {
        match intent {
            Intent::Done => &self.said.done,
            Intent::Thanks => &self.said.thanks,
            Intent::Hello => &self.said.hello,
            Intent::Bye => &self.said.bye,
            _ => &[],
        }
    }

    /// What an answer with other challenges opens with.
    pub(crate) fn lead(&self, intent: Intent) -> &[String] {
        match intent {
            Intent::Easier => &self.lead.easier,
            Intent::Quick => &self.lead.quick,
            Intent::Children => &self.lead.children,
            Intent::Company => &self.lead.company,
            Intent::Another => &self.lead.another,
            Intent::Back => &self.lead.back,
            _ => &[],
        }
    }

    /// The answer to a question about a challenge, with its number from 1.
    pub(crate) fn about(&self, number: usize, title: &str, text: &str) -> String {
        fill(&self.said.about, |name| match name {
            "n" => number.to_string(),
            "title" => title.to_owned(),
            _ => text.to_owned(),
        })
    }

    /// Nothing is left of a category: what comes is of another one.
    pub(crate) fn exhausted(&self, before: &Category, after: &Category) -> String {
        fill(&self.lead.exhausted, |name| match name {
            "before" => before.label.clone(),
            _ => after.label.clone(),
        })
    }

    /// How long a message says that something may take, in minutes.
    pub(crate) fn minutes(&self, message: &str) -> Option<u16> {
        self.times.iter().find_map(|(pattern, minutes)| {
            let found = pattern.captures(message)?;
            let number = found.get(1).map_or(Ok(1), |digits| digits.as_str().parse::<u16>()).ok()?;
            number.checked_mul(*minutes)
        })
    }

    /// With whom, as far as a message says; else with any of them.
    pub(crate) fn company(&self, words: &Words<'_>) -> Vec<String> {
        let said: Vec<String> =
            words.coded(&self.company).into_iter().map(|(code, _)| code.clone()).collect();
        if said.is_empty() { self.company.iter().map(|(code, _)| code.clone()).collect() } else { said }
    }

    /// Every sentence that an answer may open with.
    pub(crate) fn leads(&self) -> impl Iterator<Item = &String> {
        let Lead { easier, quick, children, company, another, back, exhausted: _ } = &self.lead;
        [easier, quick, children, company, another, back].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Catalog;

    #[test]
    fn how_long_it_may_take_is_read_from_the_message() {
        let catalog = Catalog::of(&Files::built_in()).unwrap();
        for (message, expected) in [
            ("오늘 10분이면 되는 거", Some(10)),
            ("5 분 안에", Some(5)),
            ("한 시간 정도 있어", Some(60)),
            ("2시간짜리", Some(120)),
            ("반시간이면 돼요", Some(30)),
            ("두시간", Some(120)),
            ("1시간 30분", Some(30)),
            ("잠깐이면 되는 거", None),
            ("기분 전환", None),
        ] {
            assert_eq!(catalog.intents().minutes(message), expected, "{message}");
        }
    }

    #[test]
    fn with_whom_is_what_is_said_or_anybody() {
        let catalog = Catalog::of(&Files::built_in()).unwrap();
        let with = |message: &str| catalog.intents().company(&catalog.keywords().words(message));
        assert_eq!(with("남편이랑 할 만한 거"), ["family"]);
        assert_eq!(with("우리 팀 사람들하고"), ["colleagues", "colleagues"]);
        assert!(with("여럿이 할 거").len() > 20, "any of them");
    }
}
