//! What the commands that know the Hub have in common.

use std::path::PathBuf;

use clap::Args;
use leafresh_hub::{Cache, Cached, Known, Reference};
use leafresh_server::config::{self, Config, Flags, Sources};

#[derive(Debug, Args)]
pub(super) struct Place {
    /// The cache, which the Hub's other tools share [setting: hub.cache, default: HF_HUB_CACHE, HF_HOME/hub or
    /// ~/.cache/huggingface/hub]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Read settings from FILE [default: config/leafresh.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Place {
    pub(super) fn hub(&self) -> Result<config::Hub, config::Error> {
        let flag =
            self.cache.as_ref().map(|dir| ("--cache", "hub.cache", dir.to_string_lossy().into_owned()));
        Ok(Config::load(&Sources::read(self.config.clone(), Flags(flag.into_iter().collect())))?.hub)
    }

    pub(super) fn cache(&self) -> Result<Cache, config::Error> {
        self.hub()?.cache()
    }
}

/// A short name or `hf:OWNER/REPO[:QUANT]`.
pub(super) fn named(text: &str) -> Result<Reference, String> {
    match Known::find(text) {
        Some(known) => Ok(known.reference()),
        None if Reference::is_meant(text) => Reference::parse(text).map_err(|error| error.to_string()),
        None => {
            Err("expected hf:OWNER/REPO[:QUANT], or a short name (`leafresh models list --known`)".into())
        }
    }
}

/// The files of the cache that a reference means: all of the repository where it names no quantisation.
pub(super) fn meant<'a>(list: &'a [Cached], reference: &Reference) -> Vec<&'a Cached> {
    let of_repo = || list.iter().filter(|cached| cached.repo == reference.repo);
    if reference.quant.is_none() {
        return of_repo().collect();
    }
    let names = reference.choose(of_repo().map(|cached| cached.name.as_str())).unwrap_or_default();
    of_repo().filter(|cached| names.contains(&cached.name.as_str())).collect()
}
