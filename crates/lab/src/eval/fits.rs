//! Whether what is shown can be done now, by whoever asked: by the seasons and needs that tellings state.

use std::collections::HashMap;

use leafresh_chat::{Command, Document, Recommender};

use super::answers::Record;
use super::measures::Measure;

/// The figures, and what doesn't fit.
pub(super) fn measure(recommender: &Recommender, records: &[Record]) -> (Vec<Measure>, Vec<String>) {
    let documents = recommender.catalog().documents();
    let by_title: HashMap<&str, &Document> =
        documents.iter().map(|document| (document.title.as_str(), document)).collect();
    let (mut shown, mut seasons, mut needs, mut wrong) = (0, 0, 0, Vec::new());
    for record in records {
        let (says, location, work_type) = match &record.task.command {
            Command::FreeText(asked) => {
                (Some(&*asked.message), asked.location.as_deref(), asked.work_type.as_deref())
            }
            Command::BaseInfo(asked) => (None, Some(&*asked.location), Some(&*asked.work_type)),
        };
        let challenges = record.answer.iter().flat_map(|answer| &answer.challenges).enumerate();
        for (index, challenge) in challenges {
            let Some(document) = by_title.get(challenge.title.as_str()) else { continue };
            let fits = recommender.fits(document, says, location, work_type);
            // What is nearest to a message is about what its writer has.
            let had = fits.needs || says.is_some() && index == 0;
            shown += 1;
            seasons += usize::from(!fits.season);
            needs += usize::from(!had);
            if !fits.season || !had {
                let what = if had { "not now" } else { "needs what they haven't" };
                let who = [says, location, work_type].into_iter().flatten().collect::<Vec<_>>().join(", ");
                wrong.push(format!("{who}: {what}: {}", challenge.title));
            }
        }
    }
    let count = |key: &str, count: usize, about: &str| {
        Measure::plain(key, "", (shown > 0).then_some(count as f64), about).less(0.0).goal(0.0)
    };
    let measures = vec![
        count(
            "out_of_season",
            seasons,
            "challenges shown that can't be done at the time of the year of this run",
        ),
        count(
            "needs_unmet",
            needs,
            "challenges shown that need what nobody like the person is known to have (a shop, a field …), the one nearest to a message left out",
        ),
    ];
    (measures, wrong)
}
