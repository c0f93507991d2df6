//! What tells where a person lives and works.

use std::collections::HashSet;

use regex::Regex;

use super::compiler::{Compiler, Said};
use super::file;
use crate::Error;
use crate::words::{Term, plain};

/// Words, each with what it stands for.
pub(crate) type Coded = Vec<(String, Term)>;

#[derive(Debug)]
pub(crate) struct Mentions {
    /// Where clauses end.
    pub(crate) ends: Regex,
    /// "I": what is said before it is about others.
    pub(crate) myself: Regex,
    pub(crate) living: Said,
    /// Of a place where one works or learns, and of one that one only goes to for it.
    pub(crate) staying: Said,
    pub(crate) commuting: Said,
    pub(crate) working: Said,
    pub(crate) running: Said,
    /// A place in front of one's work is where one lives: what follows the place, and what is all between them.
    pub(crate) there: Regex,
    pub(crate) beside: Regex,
    /// Places of the lists in which one lives only if it is said, as [`plain`] has them.
    pub(crate) buildings: HashSet<String>,
    /// Towns, jobs and shops stand for themselves.
    pub(crate) towns: Coded,
    pub(crate) jobs: Coded,
    pub(crate) shops: Coded,
    /// Words that count as `jobs` do by how they end, and any other place or job: the first group.
    pub(crate) job_words: Vec<Regex>,
    pub(crate) place: Vec<Regex>,
    pub(crate) work: Vec<Regex>,
    pub(crate) ignore: HashSet<String>,
    /// Any word at all that may be work, but where it ends in one of these.
    pub(crate) guess: Vec<Regex>,
    pub(crate) common: HashSet<String>,
}

impl Mentions {
    pub(super) fn compile(file: &file::Mentions, compiler: &Compiler) -> Result<Self, Error> {
        let not_living = ("not_living", &*file.not_living);
        let not_working = ("not_working", &*file.not_working);
        let themselves =
            |words: &[String]| words.iter().map(|word| (word.clone(), Term::new(word))).collect::<Coded>();
        Ok(Self {
            ends: compiler.regex("ends", &file.ends)?,
            myself: compiler.regex("self", &file.myself)?,
            living: compiler.said(("living", &file.living), not_living)?,
            staying: compiler.said(("staying", &file.staying), not_living)?,
            commuting: compiler.said(("commuting", &file.commuting), not_living)?,
            working: compiler.said(("working", &file.working), not_working)?,
            running: compiler.said(("running", &file.running), not_working)?,
            there: compiler.regex("there", &file.there)?,
            beside: compiler.regex("beside", &file.beside)?,
            buildings: file.buildings.iter().map(|word| plain(word)).collect(),
            towns: themselves(&file.towns),
            jobs: themselves(&file.jobs),
            shops: themselves(&file.shops),
            job_words: compiler.groups("job_words", &file.job_words)?,
            place: compiler.groups("place", &file.place)?,
            work: compiler.groups("work", &file.work)?,
            ignore: file.ignore.iter().cloned().collect(),
            guess: compiler.groups("guess", &file.guess)?,
            common: file.common.iter().cloned().collect(),
        })
    }
}
