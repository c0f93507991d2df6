//! Which answers are read: as many to choices as to messages, drawn by a seed.

use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use leafresh_chat::{Catalog, Files};
use leafresh_engine::{Backend, Local};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::super::Eval;
use super::super::answers::Record;
use super::super::data::{self, Expect};
use super::super::plan::{self, Chain};
use super::super::surroundings::Surroundings;
use crate::interrupt;

/// Of each kind.
const HALF: usize = 30;

impl Eval<'_> {
    /// The form with the answers of this model.
    pub(in super::super) fn draw(&self, model: &Path, seed: u64) -> anyhow::Result<String> {
        let chains = chains(&self.config.catalog.files(), &self.catalog, seed)?;
        let count = chains.len();
        let folder = Self::folder()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let interrupt = runtime.block_on(async { interrupt::on_ctrl_c() });
        let surroundings = runtime.block_on(Surroundings::make(folder.path(), self.config, &self.catalog))?;
        let backend: Arc<dyn Backend> = Arc::new(Local::load(model, &self.config.engine)?);
        let way = self.ways().into_iter().next().flatten();
        let recommender = self.recommender(&backend, way, &surroundings)?;
        let mut records: Vec<Record> = runtime.block_on(self.records(&recommender, chains, &interrupt))?;
        if records.len() < count {
            bail!("{} of {count} answers were given before the end; nothing was written", records.len());
        }
        // They end in any order; their seeds rise.
        records.sort_by_key(|record| record.task.seed);
        super::form(&records, &self.catalog, seed)
    }
}

fn chains(files: &Files, catalog: &Catalog, seed: u64) -> anyhow::Result<Vec<Chain>> {
    let mut messages = data::messages(files, catalog)?;
    messages.retain(|message| message.expect == Expect::Answer);
    let mut said = plan::messages(&messages);
    said.extend(plan::questions(&data::queries(files, catalog)?, catalog));
    let mut rng = StdRng::seed_from_u64(seed);
    let mut chains: Vec<Chain> = Vec::new();
    for kind in [plan::grid(catalog, 1), said] {
        chains.extend(kind.choose_multiple(&mut rng, HALF).cloned());
    }
    for (index, task) in chains.iter_mut().flatten().enumerate() {
        task.seed = Some(seed << 32 | index as u64);
    }
    Ok(chains)
}

#[cfg(test)]
mod tests {
    use super::*;
    use leafresh_chat::Command;

    #[test]
    fn a_seed_draws_the_same_requests_and_another_one_others() {
        let files = Files::built_in();
        let catalog = Catalog::of(&files).unwrap();
        let drawn = |seed| chains(&files, &catalog, seed).unwrap();
        let first = drawn(1);
        assert_eq!(first, drawn(1));
        assert_eq!(first.len(), 2 * HALF);
        let said = |chain: &&Chain| matches!(chain[0].command, Command::FreeText(_));
        assert_eq!(first.iter().filter(said).count(), HALF);
        let commands = |chains: &[Chain]| {
            chains.iter().map(|chain| chain[0].command.clone()).collect::<std::collections::HashSet<_>>()
        };
        let (one, other) = (commands(&first), commands(&drawn(2)));
        assert_eq!(one.len(), 2 * HALF, "nothing is asked twice");
        assert!(one.intersection(&other).count() < HALF);
    }
}
