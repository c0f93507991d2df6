//! The catalogue, as `leafresh catalog check` looks at it.

use std::sync::Arc;

use leafresh_chat::Catalog;
use leafresh_server::config::Config;
use leafresh_server::setup;

use super::finding::Finding;
use crate::shell::quoted;

const CHECK: &str = "catalogue";

/// The catalogue, if it can be used, and what is to be said of it.
pub(super) fn finding(config: &Config) -> (Option<Arc<Catalog>>, Finding) {
    match setup::load_catalog(config) {
        Ok(catalog) => {
            let place = match &config.catalog.dir {
                Some(dir) => dir.display().to_string(),
                None => "the program's own".into(),
            };
            let says = format!(
                "{place}: {} categories, {} places, {} work types, {} documents",
                catalog.categories().len(),
                catalog.places().len(),
                catalog.work_types().len(),
                catalog.documents().len()
            );
            (Some(catalog), Finding::ok(CHECK, says))
        }
        Err(error) => {
            let advice =
                "correct the place that is named, or begin with a whole one (`leafresh catalog export DIR`)";
            let finding = Finding::failure(CHECK, format!("{error:#}"), advice);
            let finding = match &config.catalog.dir {
                Some(dir) => finding.run(format!("leafresh catalog check {}", quoted(dir))),
                None => finding,
            };
            (None, finding)
        }
    }
}
