//! Models of the Hugging Face Hub: where they lie, and what a name of one means.

use std::path::{Path, PathBuf};

use leafresh_hub::{Cache, Known, Reference, Settings, Token};
use serde::Deserialize;

use super::{Error, at_home, places};

/// Where what was fetched from the Hub lies, and by which token it is fetched.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hub {
    /// The cache that the Hub's tools share. A leading `~/` is the home directory. None: where they have it.
    pub cache: Option<PathBuf>,
    /// The variable of the environment that holds the token. None: `HF_TOKEN`.
    pub token_variable: Option<String>,
    /// A file that holds it. None: where the Hub's tools keep it.
    pub token_file: Option<PathBuf>,
}

impl Hub {
    /// # Errors
    /// When nothing was named and the system has no place for it.
    pub fn cache(&self) -> Result<Cache, Error> {
        let named = self.cache.as_ref().map(|folder| at_home("hub.cache", folder)).transpose()?;
        named.or_else(|| places::hub(&places::environment)).map(Cache::new).ok_or_else(|| {
            Error(
                "hub.cache: there is no place for models, as neither HF_HUB_CACHE, HF_HOME, CACHE_DIRECTORY nor HOME is set; \
                 name a folder"
                    .into(),
            )
        })
    }

    /// How the Hub is asked: as the environment says, with the token that is named here.
    ///
    /// # Errors
    /// When the token's file can't be read.
    pub fn settings(&self) -> Result<Settings, Error> {
        let file = self.token_file.as_ref().map(|file| at_home("hub.token_file", file)).transpose()?;
        let variable = self.token_variable.as_deref();
        let token = Token::find(&places::environment, variable, file.as_deref())
            .map_err(|error| Error(format!("hub.token_file: {error}")))?;
        Ok(Settings::of(&places::environment, token))
    }

    /// The file that a setting means: a path, or a model's name on the Hub. `key` is the setting.
    pub(super) fn file(&self, key: &str, path: &Path) -> Result<PathBuf, Error> {
        let Some(reference) = reference(key, path)? else { return at_home(key, path) };
        let cache = self.cache()?;
        cache.find(&reference).ok_or_else(|| {
            let folder = cache.folder().display();
            Error(format!(
                "{key}: {reference} isn't in the cache {folder}; `leafresh models pull {reference}` fetches it"
            ))
        })
    }
}

/// What a setting's text means on the Hub. None: it is a path. A file of that name comes before a short name.
pub(super) fn reference(key: &str, path: &Path) -> Result<Option<Reference>, Error> {
    let Some(text) = path.to_str() else { return Ok(None) };
    if Reference::is_meant(text) {
        return Reference::parse(text).map(Some).map_err(|error| Error(format!("{key}: {error}")));
    }
    let known = Known::find(text).filter(|_| !path.exists());
    Ok(known.map(Known::reference))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_for_in_the_cache_and_the_command_that_fetches_it_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let hub = Hub { cache: Some(dir.path().into()), ..Hub::default() };
        for (name, reference) in
            [("hf:a/b:Q8_0", "hf:a/b:Q8_0"), ("qwen3-0.6b", "hf:Qwen/Qwen3-0.6B-GGUF:Q8_0")]
        {
            let error = hub.file("model.path", Path::new(name)).unwrap_err().to_string();
            assert!(error.contains(&format!("`leafresh models pull {reference}`")), "{error}");
        }
        let snapshot = dir.path().join("models--a--b/snapshots/0123");
        std::fs::create_dir_all(&snapshot).unwrap();
        std::fs::write(snapshot.join("x-Q8_0.gguf"), "").unwrap();
        assert_eq!(hub.file("model.path", Path::new("hf:a/b:Q8_0")).unwrap(), snapshot.join("x-Q8_0.gguf"));
        assert_eq!(hub.file("model.path", Path::new("a/b")).unwrap(), Path::new("a/b"), "a path");
        let error = hub.file("model.path", Path::new("hf:a")).unwrap_err().to_string();
        assert!(error.starts_with("model.path: ") && error.contains("OWNER/REPO"), "{error}");
    }
}
