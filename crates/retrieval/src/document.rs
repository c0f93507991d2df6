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
    /// What people say whom it would help: found by these too (document expansion, Nogueira et al. 2019, "From doc2query to
    /// docTTTTTquery"). Not shown to anybody, and not stored in an index.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<String>,
    /// Where it comes from, as shown to whoever asks.
    pub source: String,
}

/// Questions of a document, and characters of one.
const MOST_QUESTIONS: usize = 24;
const LONGEST_QUESTION: usize = 80;

impl Document {
    /// # Errors
    /// What is wrong with [`Document::questions`].
    pub fn check_questions(&self) -> Result<(), String> {
        if self.questions.len() > MOST_QUESTIONS {
            let count = self.questions.len();
            return Err(format!("`questions` holds {count}; expected {MOST_QUESTIONS} at most"));
        }
        for (index, question) in self.questions.iter().enumerate() {
            let length = question.chars().count();
            if question.trim().is_empty() {
                return Err(format!("`questions`: number {} is empty", index + 1));
            }
            if length > LONGEST_QUESTION {
                return Err(format!(
                    "`questions`: number {} has {length} characters; expected {LONGEST_QUESTION} at most",
                    index + 1
                ));
            }
            if self.questions[..index].contains(question) {
                return Err(format!("`questions` holds `{question}` twice"));
            }
        }
        Ok(())
    }
}
