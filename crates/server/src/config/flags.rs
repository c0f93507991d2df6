//! The flags that every command has.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};

use super::{Config, Error, Flags, Sources};

/// Flags that set a key of the configuration, and the file that they override.
#[derive(Debug, Args)]
pub struct Common {
    /// Read settings from FILE [default: config/leafresh.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Load the model from this GGUF file, or by its name on the Hub: hf:OWNER/REPO[:QUANT], or one of `leafresh models list
    /// --known` [setting: model.path]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Find documents with this GGUF embedding model; "" is none [setting: retrieval.model]
    #[arg(long, value_name = "FILE", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    embedding_model: Option<PathBuf>,
    /// Read categories, sentences, prompts and documents from DIR instead of those in the program [setting: catalog.dir]
    #[arg(long, value_name = "DIR")]
    catalog: Option<PathBuf>,
    /// Keep conversations, the index and what was learned in DIR [setting: data.dir]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Common {
    /// The configuration under these flags and `more` of them: the flag's name, the key, the value.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load(
        &self,
        more: impl IntoIterator<Item = (&'static str, &'static str, String)>,
    ) -> Result<Config, Error> {
        Config::load(&self.sources(more))
    }

    /// Where the configuration comes from: it can be read again.
    pub fn sources(&self, more: impl IntoIterator<Item = (&'static str, &'static str, String)>) -> Sources {
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let mut flags: Vec<_> = more.into_iter().collect();
        flags.extend(self.model.as_ref().map(|file| ("--model", "model.path", path(file))));
        let embedding = self.embedding_model.as_ref();
        flags.extend(embedding.map(|file| ("--embedding-model", "retrieval.model", path(file))));
        flags.extend(self.catalog.as_ref().map(|dir| ("--catalog", "catalog.dir", path(dir))));
        flags.extend(self.data.as_ref().map(|dir| ("--data", "data.dir", path(dir))));
        Sources::read(self.config.clone(), Flags(flags))
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;

    #[test]
    fn an_empty_embedding_model_is_none_and_is_taken() {
        let command = Common::augment_args(clap::Command::new("leafresh"));
        let matches = command.try_get_matches_from(["leafresh", "--embedding-model", ""]).unwrap();
        let config = Common::from_arg_matches(&matches).unwrap().load(None).unwrap();
        assert_eq!(config.retrieval.file().unwrap(), None);
    }
}
