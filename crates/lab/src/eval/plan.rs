//! The requests of a run.

use clap::ValueEnum;
use leafresh_chat::{BaseInfo, Catalog, Command, FreeText};

use super::data::{Expect, Kind, LabelledQuery, Message};

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Part {
    /// Every combination of category, place and kind of work
    Grid,
    /// The same request ten times in one session, for each category
    Repeats,
    /// Messages in people's own words, among them some that should be refused
    Messages,
    /// Questions in people's own words, for how their answers open
    Questions,
    /// Questions whose fitting documents are known
    Retrieval,
    /// Messages on and off the topic that the gate has not learned from
    Gate,
    /// What is understood before anything is written: distress, insults, short replies, places and jobs
    Understanding,
    /// Who chooses best: chance, the embedding model, the language model, both. Minutes; only where it is asked for
    Choosing,
}

/// How often the same is asked in one session; and how many of these requests could be answered with something new each.
pub(super) const TURNS: usize = 10;
pub(super) const REPEATS: usize = 5;

/// One request, and what is known about the right answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Task {
    pub(super) part: Part,
    /// None: drawn afresh.
    pub(super) seed: Option<u64>,
    pub(super) command: Command,
    pub(super) kind: Kind,
    pub(super) expect: Expect,
    /// The code of the category that the answer should have.
    pub(super) category: Option<String>,
}

/// Requests that have to follow each other. Different ones can run at once.
pub(super) type Chain = Vec<Task>;

/// Every combination, once for each seed from 1.
pub(super) fn grid(catalog: &Catalog, seeds: u64) -> Vec<Chain> {
    let mut chains = Vec::new();
    for seed in 1..=seeds {
        for category in catalog.categories() {
            for place in catalog.places() {
                for work_type in catalog.work_types() {
                    let request = base_info(&category.code, &place.code, &work_type.code);
                    // With one seed for all of them everybody would draw documents of the same ranks.
                    let own = seed << 32 | chains.len() as u64;
                    chains.push(vec![asked(Part::Grid, Some(own), request)]);
                }
            }
        }
    }
    chains
}

/// A session for each category; places and kinds of work change from one to the next.
pub(super) fn repeats(catalog: &Catalog) -> Vec<Chain> {
    let session = |(index, category): (usize, &leafresh_chat::Category)| {
        let place = &catalog.places()[index % catalog.places().len()];
        // Another pairing of places and kinds of work every time round.
        let turn = index + index / catalog.work_types().len();
        let work_type = &catalog.work_types()[turn % catalog.work_types().len()];
        let mut request = base_info(&category.code, &place.code, &work_type.code);
        request.session_id = Some(format!("eval-{}", category.code));
        vec![asked(Part::Repeats, None, request); TURNS]
    };
    catalog.categories().iter().enumerate().map(session).collect()
}

pub(super) fn messages(messages: &[Message]) -> Vec<Chain> {
    let task = |(index, message): (usize, &Message)| Task {
        part: Part::Messages,
        seed: Some(index as u64),
        command: Command::FreeText(FreeText {
            message: message.text.clone(),
            location: message.location.clone(),
            work_type: message.work_type.clone(),
            ..FreeText::default()
        }),
        kind: message.kind,
        expect: message.expect,
        category: message.category.clone(),
    };
    messages.iter().enumerate().map(|message| vec![task(message)]).collect()
}

/// Those that nothing was learned from, each with the category of what answers it.
pub(super) fn questions(queries: &[LabelledQuery], catalog: &Catalog) -> Vec<Chain> {
    let category = |query: &LabelledQuery| {
        let best = query.relevant.first()?;
        let document = catalog.documents().iter().find(|document| document.id == *best)?;
        Some(document.category.clone())
    };
    let task = |(index, query): (usize, &LabelledQuery)| Task {
        part: Part::Questions,
        seed: Some(index as u64),
        command: Command::FreeText(FreeText { message: query.query.clone(), ..FreeText::default() }),
        kind: Kind::OnTopic,
        expect: Expect::Answer,
        category: category(query),
    };
    queries.iter().enumerate().map(|query| vec![task(query)]).collect()
}

/// Messages that say roundabout what they want; nobody knows of which category.
pub(super) fn roundabout(messages: Vec<String>) -> Vec<Chain> {
    let task = |(index, message): (usize, String)| Task {
        part: Part::Questions,
        seed: Some(index as u64),
        command: Command::FreeText(FreeText { message, ..FreeText::default() }),
        kind: Kind::OnTopic,
        expect: Expect::Answer,
        category: None,
    };
    messages.into_iter().enumerate().map(|message| vec![task(message)]).collect()
}

fn base_info(category: &str, place: &str, work_type: &str) -> BaseInfo {
    BaseInfo {
        location: place.into(),
        work_type: work_type.into(),
        category: category.into(),
        ..BaseInfo::default()
    }
}

fn asked(part: Part, seed: Option<u64>, request: BaseInfo) -> Task {
    let category = Some(request.category.clone());
    Task {
        part,
        seed,
        command: Command::BaseInfo(request),
        kind: Kind::OnTopic,
        expect: Expect::Answer,
        category,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;

    use super::*;

    fn catalog() -> Catalog {
        Catalog::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../catalog")).unwrap()
    }

    #[test]
    fn the_grid_asks_for_every_combination_once_for_each_seed() {
        let chains = grid(&catalog(), 2);
        assert_eq!(chains.len(), 256);
        let distinct: HashSet<_> =
            chains.iter().map(|chain| (chain[0].seed, chain[0].command.clone())).collect();
        assert_eq!(distinct.len(), 256);
        let seeds: HashSet<_> = chains.iter().map(|chain| chain[0].seed).collect();
        assert_eq!(seeds.len(), 256, "no two draw alike");
    }

    #[test]
    fn repeats_are_the_same_request_in_one_session() {
        let chains = repeats(&catalog());
        assert_eq!(chains.len(), 8);
        for chain in &chains {
            assert_eq!(chain.len(), TURNS);
            assert!(chain.iter().all(|task| *task == chain[0]) && chain[0].command.session_id().is_some());
        }
        let sessions: HashSet<_> = chains.iter().map(|chain| chain[0].command.session_id()).collect();
        assert_eq!(sessions.len(), 8);
        let pairs: HashSet<_> = chains
            .iter()
            .map(|chain| match &chain[0].command {
                Command::BaseInfo(request) => (request.location.clone(), request.work_type.clone()),
                Command::FreeText(_) => unreachable!("a message"),
            })
            .collect();
        assert_eq!(pairs.len(), 8, "every session is another person's");
    }
}
