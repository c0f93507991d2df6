//! What is searched for.

use serde::{Deserialize, Serialize};

/// One challenge, ready to be recommended; or a passage of a longer text, which is context for one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub id: String,
    /// The category's code. Empty: it belongs to none, and is found when none is asked for.
    pub category: String,
    /// The codes of the places it fits. Empty: all.
    pub places: Vec<String>,
    /// The codes of the kinds of work it fits. Empty: all.
    pub work_types: Vec<String>,
    pub title: String,
    /// What to do and why. In the catalogue one or two sentences, of another text a passage.
    pub text: String,
    /// The same in other words and shorter; empty for a passage.
    pub short: String,
    /// Where it comes from, as shown to whoever asks.
    pub source: String,
}
