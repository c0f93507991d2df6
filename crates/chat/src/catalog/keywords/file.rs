//! The tables of `keywords.toml`.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) particles: Vec<String>,
    pub(super) wishes: Wishes,
    pub(super) replies: Replies,
    #[serde(default)]
    pub(super) categories: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(super) places: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(super) work_types: BTreeMap<String, Vec<String>>,
    pub(super) mentions: Mentions,
    pub(super) nonsense: Nonsense,
    pub(super) topic: Topic,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wishes {
    pub(super) restore: Vec<String>,
    pub(super) another: Vec<String>,
    pub(super) excluded: Vec<String>,
    pub(super) not_excluded: Vec<String>,
    pub(super) also: Vec<String>,
    pub(super) follow_up: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Replies {
    pub(super) laughter: String,
    pub(super) consent: Vec<String>,
    pub(super) refusal: Vec<String>,
    pub(super) filler: Vec<String>,
    pub(super) numbers: [Vec<String>; 3],
    pub(super) mentioned: [String; 3],
    pub(super) turned_down: String,
    pub(super) question: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mentions {
    pub(super) ends: String,
    #[serde(rename = "self")]
    pub(super) myself: String,
    pub(super) living: Vec<String>,
    pub(super) not_living: Vec<String>,
    #[serde(default)]
    pub(super) staying: Vec<String>,
    #[serde(default)]
    pub(super) commuting: Vec<String>,
    pub(super) working: Vec<String>,
    pub(super) not_working: Vec<String>,
    pub(super) running: Vec<String>,
    pub(super) there: String,
    pub(super) beside: String,
    #[serde(default)]
    pub(super) buildings: Vec<String>,
    #[serde(default)]
    pub(super) towns: Vec<String>,
    #[serde(default)]
    pub(super) jobs: Vec<String>,
    #[serde(default)]
    pub(super) shops: Vec<String>,
    #[serde(default)]
    pub(super) job_words: Vec<String>,
    pub(super) place: Vec<String>,
    pub(super) work: Vec<String>,
    pub(super) ignore: Vec<String>,
    #[serde(default)]
    pub(super) guess: Vec<String>,
    #[serde(default)]
    pub(super) common: Vec<String>,
    /// Texts that the expressions of this table hold by name.
    #[serde(default)]
    pub(super) parts: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nonsense {
    pub(super) runs: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Topic {
    pub(super) on: Vec<String>,
    pub(super) off: Vec<String>,
}
