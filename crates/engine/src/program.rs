//! An answer is a program of fixed text and slots, not a text to parse.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::{Delta, Error};

/// Fixed text and slots, in the order in which the reader sees them.
///
/// Two slots have fixed text between them: its first token is what ends the slot before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Segment {
    /// Text that is fed to the model as a run, never sampled.
    Fixed(String),
    Slot(Slot),
}

/// A part that the model writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    pub name: String,
    pub grammar: Grammar,
    /// Token budget. The slot always ends within it: it may not be below the fewest tokens the grammar needs.
    pub max_tokens: usize,
    /// Earlier slots, by index among the slots, whose text this one may not repeat.
    #[serde(default)]
    pub distinct_from: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grammar {
    /// A regular expression that matches the whole slot, in the `regex` crate's syntax, without look-around.
    Regex(String),
    /// One of these texts.
    Choices(Vec<String>),
    /// One of the texts listed under what slot `of` holds.
    Lookup { of: usize, table: BTreeMap<String, Vec<String>> },
}

/// What has been written of a program: any engine can continue from here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The texts of the finished slots, in order.
    pub done: Vec<String>,
    /// What the slot after them holds so far.
    pub partial: String,
}

impl Progress {
    /// What has been written after this delta.
    pub fn note(&mut self, delta: &Delta) {
        match delta {
            Delta::Text { text, .. } => self.partial.push_str(text),
            Delta::SlotDone { text, .. } => {
                self.partial.clear();
                self.done.push(text.clone());
            }
            Delta::Done(_) | Delta::Failed(_) => {}
        }
    }
}

impl Program {
    /// Checks what can be checked without a model.
    ///
    /// # Errors
    /// [`Error::Program`] when there is no slot, when two slots touch, when a slot has nothing to choose from, or when
    /// it refers to a slot that doesn't come before it.
    pub fn new(segments: Vec<Segment>) -> Result<Self, Error> {
        let program = Self { segments };
        program.check()?;
        Ok(program)
    }

    fn check(&self) -> Result<(), Error> {
        let fail = |text: String| Err(Error::Program(text));
        if self.slots().next().is_none() {
            return fail("it has no slot".into());
        }
        for pair in self.segments.windows(2) {
            if let [Segment::Slot(first), Segment::Slot(second)] = pair {
                return fail(format!("no fixed text between slots {} and {}", first.name, second.name));
            }
        }
        for (index, slot) in self.slots().enumerate() {
            let empty = match &slot.grammar {
                Grammar::Regex(regex) => regex.is_empty(),
                Grammar::Choices(choices) => choices.is_empty() || choices.iter().any(String::is_empty),
                Grammar::Lookup { table, .. } => {
                    table.is_empty()
                        || table.values().any(|list| list.is_empty() || list.iter().any(String::is_empty))
                }
            };
            if empty {
                return fail(format!("slot {} has an empty grammar or choice", slot.name));
            }
            let of = if let Grammar::Lookup { of, .. } = &slot.grammar { Some(of) } else { None };
            if slot.distinct_from.iter().chain(of).any(|&earlier| earlier >= index) {
                return fail(format!("slot {} refers to a slot that does not come before it", slot.name));
            }
        }
        Ok(())
    }

    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    pub fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Slot(slot) => Some(slot),
            Segment::Fixed(_) => None,
        })
    }

    /// Whether every slot has been written.
    pub fn is_finished(&self, progress: &Progress) -> bool {
        progress.done.len() == self.slots().count()
    }

    /// The text that a reader has seen at this point: every fixed text up to the slot in progress, and the slots' own.
    pub fn render(&self, progress: &Progress) -> String {
        let mut text = String::new();
        let mut done = progress.done.iter();
        for segment in &self.segments {
            match segment {
                Segment::Fixed(fixed) => text.push_str(fixed),
                Segment::Slot(_) => match done.next() {
                    Some(slot) => text.push_str(slot),
                    None => {
                        text.push_str(&progress.partial);
                        break;
                    }
                },
            }
        }
        text
    }
}
