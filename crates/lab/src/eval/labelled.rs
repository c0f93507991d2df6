//! What needs no language model: search, gate and what is understood and chosen, by labelled data.

use std::sync::Arc;

use leafresh_chat::{Grounding, Recommender};
use leafresh_engine::fake::FakeModel;
use leafresh_engine::{Backend, Local};

use super::plan::Part;
use super::progress::Progress;
use super::report::Report;
use super::surroundings::Surroundings;
use super::{Eval, choices, data, gate, intents, own, retrieval, understanding};
use crate::interrupt::Interrupt;

impl Eval<'_> {
    /// For what needs no language model: this one costs nothing.
    pub(super) fn without_model(&self, surroundings: &Surroundings) -> anyhow::Result<Recommender> {
        let nothing: Arc<dyn Backend> =
            Arc::new(Local::start(Box::new(FakeModel::new(1)), &self.config.engine)?);
        self.recommender(&nothing, Some(Grounding::Select), surroundings)
    }

    /// Search, gate and what is understood by words, by labelled data.
    pub(super) async fn labelled(
        &self,
        surroundings: &Surroundings,
        interrupt: &Interrupt,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        if ![Part::Retrieval, Part::Gate, Part::Understanding]
            .into_iter()
            .any(|part| self.options.measures(part))
        {
            return Ok(());
        }
        let recommender = self.without_model(surroundings)?;
        {
            let _progress = Progress::new("learning from the catalogue", 1);
            recommender.learn().await?;
        }
        if self.options.measures(Part::Understanding) {
            let files = self.config.catalog.files();
            let understood = understanding::measure(&files, &self.catalog, &recommender).await?;
            report.shared.extend(understood.measures);
            report.note("Messages that were misunderstood", understood.wrong);
            let (measures, wrong) = choices::measure(&files, &self.catalog, &recommender).await?;
            report.shared.extend(measures);
            report.note("Choices that a reader wouldn't accept", wrong);
            if files.has(own::OWN) {
                let (measures, wrong) = own::measure(&files, &self.catalog, &recommender)?;
                report.shared.extend(measures);
                report.note("Openings for people's own words that aren't sensible", wrong);
            }
            if let Some((measures, wrong)) = intents::measure(&files, &recommender).await? {
                report.shared.extend(measures);
                report.note("Messages about what was offered that were misunderstood", wrong);
            }
        }
        if let Some(search) = surroundings.search.as_ref().filter(|_| self.options.measures(Part::Retrieval))
        {
            let queries = data::queries(&self.config.catalog.files(), &self.catalog)?;
            let progress = Progress::new("questions searched for", queries.len());
            let mut found = Vec::new();
            for query in queries.iter().take_while(|_| !interrupt.happened()) {
                found.push(retrieval::look_up(search, query).await?);
                progress.step();
            }
            report.shared.extend(retrieval::measures(&found));
            report
                .note("Questions without a fitting document among the first five", retrieval::missed(&found));
        }
        if self.options.measures(Part::Gate) {
            let examples = gate::examples(&recommender);
            let progress = Progress::new("messages judged", examples.len());
            let mut judged = Vec::new();
            for example in examples.iter().take_while(|_| !interrupt.happened()) {
                judged.push(gate::judge(&recommender, example).await?);
                progress.step();
            }
            report.shared.extend(gate::measures(&judged));
            report.note("Examples that the gate judged wrongly", gate::wrong(&judged));
        }
        Ok(())
    }
}
