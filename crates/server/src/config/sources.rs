//! Where settings come from, and which one wins.

use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::variables::{Variables, insert};
use super::{Config, Error, dotenv, explain};

/// Read when no other file is named, if it exists.
pub const DEFAULT_FILE: &str = "config/leafresh.toml";

/// Everything that is laid over the defaults, the strongest last.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// A file that has to exist, or `None` for [`DEFAULT_FILE`] if there is one.
    pub file: Option<PathBuf>,
    /// Names and values of `.env` and of the process's environment; what isn't ours is passed over.
    pub dotenv: Vec<(String, String)>,
    pub environment: Vec<(String, String)>,
    pub flags: Flags,
    /// What was passed over, for the log.
    pub notes: Vec<String>,
}

/// Flags of the command line that set a key: the flag's name, the key, the value.
#[derive(Debug, Clone, Default)]
pub struct Flags(pub Vec<(&'static str, &'static str, String)>);

impl Sources {
    /// The file named or the default one, `.env` in the working directory, and the environment.
    pub fn read(file: Option<PathBuf>, flags: Flags) -> Self {
        let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
        let environment = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
        Self { file, environment, flags, ..Self::default() }.again()
    }

    /// The same with `.env` as it is now.
    #[must_use]
    pub fn again(self) -> Self {
        let (dotenv, notes) = dotenv::read(Path::new(".env"));
        Self { dotenv, notes, ..self }
    }
}

impl Config {
    /// Lays the sources over the defaults.
    ///
    /// # Errors
    /// An unknown key, with the nearest known one; a value of the wrong kind; a file that can't be read.
    pub fn load(sources: &Sources) -> Result<Self, Error> {
        let mut figment = Figment::new();
        let default = Path::new(DEFAULT_FILE);
        let file = sources.file.as_deref().or_else(|| default.exists().then_some(default));
        if let Some(path) = file {
            check_toml(path)?;
            figment = figment.merge(Toml::file_exact(path));
        }
        let mut dotenv = Variables::new(".env", &sources.dotenv);
        let mut environment = Variables::new("environment", &sources.environment);
        let mut config: Self = loop {
            let merged = figment.clone().merge(&dotenv).merge(&environment).merge(&sources.flags);
            match merged.extract() {
                Ok(config) => break config,
                Err(error) if dotenv.yields(&error) || environment.yields(&error) => {}
                Err(error) => return Err(Error(explain::text(&error))),
            }
        };
        config.model.hub.clone_from(&config.hub);
        config.retrieval.hub.clone_from(&config.hub);
        config.notes.clone_from(&sources.notes);
        let foreign = [dotenv.foreign, environment.foreign].concat();
        if !foreign.is_empty() {
            let names = foreign.join(", ");
            config
                .notes
                .push(format!("variables that Kubernetes sets for Services are no settings: {names}"));
        }
        Ok(config)
    }
}

/// Says what is wrong with a file without showing the line, which may hold a key.
fn check_toml(path: &Path) -> Result<(), Error> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error(format!("configuration file {}: {error}; --config names another one", path.display()))
    })?;
    match text.parse::<toml::Table>() {
        Ok(_) => Ok(()),
        Err(error) => {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let reason = error.message().replace('\n', ", ");
            Err(Error(format!("{}: line {line}: {reason}", path.display())))
        }
    }
}

impl Provider for &Flags {
    fn metadata(&self) -> Metadata {
        let flags: Vec<_> = self.0.iter().map(|(flag, key, _)| (*flag, *key)).collect();
        Metadata::named("command line").interpolater(move |_, keys| {
            let path = keys.join(".");
            let flag = flags.iter().find(|(_, key)| *key == path);
            flag.map_or_else(|| path.clone(), |(flag, _)| (*flag).to_owned())
        })
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        let mut dict = Dict::new();
        for (_, key, value) in &self.0 {
            insert(&mut dict, key, ".", Value::from(value.as_str()));
        }
        Ok(Map::from([(Profile::Default, dict)]))
    }
}
