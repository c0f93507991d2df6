//! A form to fill in: Markdown, each sentence with a line for the mark below it.

/// What begins the line of an answer's request, and of a sentence's mark.
pub(super) const ANSWER: &str = "## ";
pub(super) const MARK: &str = "sensible ";

/// Before it is filled in.
pub(super) struct Form {
    pub(super) seed: u64,
    /// What was asked, and the answer's sentences.
    pub(super) answers: Vec<(String, Vec<String>)>,
}

/// An answer that was read.
#[derive(Debug, PartialEq)]
pub(super) struct Read {
    pub(super) asked: String,
    pub(super) sentences: Vec<Marked>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Marked {
    pub(super) text: String,
    pub(super) sensible: bool,
    pub(super) remark: String,
}

impl Marked {
    /// A challenge's title begins with its number.
    pub(super) fn is_title(&self) -> bool {
        self.text.starts_with(|c: char| c.is_ascii_digit()) && self.text.get(1..3) == Some(". ")
    }
}

/// The heading, with what a form has of each: whoever reads it knows what is missing.
pub(super) fn heading(answers: usize, sentences: usize, seed: u64) -> String {
    format!("# {answers} answers, {sentences} sentences, seed {seed}")
}

const HELP: &str = "\
Write y behind `sensible …:` if the sentence is right for whoever asked, at this time of the year, and fits what the answer says \
besides; else n. A remark may follow. A title counts as a sentence. Change nothing else: `leafresh eval --read` counts the marks, \
and says where something was left out or changed.";

impl Form {
    pub(super) fn print(&self) -> String {
        let sentences = self.answers.iter().map(|(_, sentences)| sentences.len()).sum();
        let mut text = format!("{}\n\n{HELP}\n", heading(self.answers.len(), sentences, self.seed));
        let mut check = Check::new(self.seed);
        for (index, (asked, sentences)) in self.answers.iter().enumerate() {
            text.extend([format!("\n{ANSWER}{}. {asked}\n", index + 1)]);
            check.add(asked);
            for sentence in sentences {
                check.add(sentence);
                text.extend([format!("\n{sentence}\n{MARK}{check}:\n")]);
            }
        }
        text
    }
}

/// Of all that stands before a mark: what was changed, left out or put elsewhere shows in the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Check(u32);

impl Check {
    pub(super) fn new(seed: u64) -> Self {
        let mut check = Self(0x811c_9dc5);
        check.add(&seed.to_string());
        check
    }

    /// FNV-1a, 32 bits (Fowler, Noll, Vo): it has to find slips, not forgers.
    pub(super) fn add(&mut self, text: &str) {
        for byte in text.bytes().chain([0]) {
            self.0 = (self.0 ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}
