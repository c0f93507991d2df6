//! Where settings come from, and which one wins.

use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::{Config, Error, explain};

/// Read when no other file is named, if it exists.
pub const DEFAULT_FILE: &str = "config/leafresh.toml";

const PREFIX: &str = "LEAFRESH_";

/// Variables of the test suite, which are no settings.
const FOR_TESTS: &str = "LEAFRESH_TEST_";

/// Everything that is laid over the defaults, the strongest last.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// A file that has to exist, or `None` for [`DEFAULT_FILE`] if there is one.
    pub file: Option<PathBuf>,
    /// Names and values of `.env` and of the process's environment; what isn't ours is passed over.
    pub dotenv: Vec<(String, String)>,
    pub environment: Vec<(String, String)>,
    pub flags: Flags,
}

/// Flags of the command line that set a key: the flag's name, the key, the value.
#[derive(Debug, Clone, Default)]
pub struct Flags(pub Vec<(&'static str, &'static str, String)>);

impl Sources {
    /// The file named or the default one, `.env` in the working directory, and the environment.
    ///
    /// # Errors
    /// When `.env` can't be read.
    pub fn read(file: Option<PathBuf>, flags: Flags) -> Result<Self, Error> {
        let path = Path::new(".env");
        let dotenv = match dotenvy::from_path_iter(path) {
            Ok(lines) => lines.collect::<Result<_, _>>().map_err(|error| Error(format!(".env: {error}")))?,
            Err(error) if error.not_found() => Vec::new(),
            Err(error) => return Err(Error(format!(".env: {error}"))),
        };
        let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
        let environment = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
        Ok(Self { file, dotenv, environment, flags })
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
            std::fs::read_to_string(path).map_err(|error| {
                Error(format!("configuration file {}: {error}; --config names another one", path.display()))
            })?;
            figment = figment.merge(Toml::file_exact(path));
        }
        figment
            .merge(Variables::new(".env", &sources.dotenv))
            .merge(Variables::new("environment", &sources.environment))
            .merge(&sources.flags)
            .extract()
            .map_err(|error| Error(explain::text(&error)))
    }
}

/// `LEAFRESH_SECTION__KEY` variables as settings.
struct Variables<'a> {
    origin: &'static str,
    variables: &'a [(String, String)],
}

impl<'a> Variables<'a> {
    fn new(origin: &'static str, variables: &'a [(String, String)]) -> Self {
        Self { origin, variables }
    }
}

impl Provider for Variables<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin)
            .interpolater(|_, keys| format!("{PREFIX}{}", keys.join("__").to_ascii_uppercase()))
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        let mut dict = Dict::new();
        for (name, value) in self.variables {
            let Some(path) = name.strip_prefix(PREFIX) else {
                continue;
            };
            if !name.starts_with(FOR_TESTS) {
                insert(&mut dict, &path.to_ascii_lowercase(), "__", parse(value));
            }
        }
        Ok(Map::from([(Profile::Default, dict)]))
    }
}

/// What is no number, boolean, list or table is a string.
fn parse(value: &str) -> Value {
    // figment 0.10.19 panics where letters of several bytes come before a backslash in quotes: such a text is what it is.
    if !value.is_ascii() && value.contains('\\') {
        return Value::from(value);
    }
    value.parse().unwrap_or_else(|_| Value::from(value))
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

fn insert(dict: &mut Dict, path: &str, separator: &str, value: Value) {
    let Some((section, rest)) = path.split_once(separator) else {
        dict.insert(path.to_owned(), value);
        return;
    };
    let mut inner = match dict.remove(section) {
        Some(Value::Dict(_, inner)) => inner,
        _ => Dict::new(),
    };
    insert(&mut inner, rest, separator, value);
    dict.insert(section.to_owned(), Value::from(inner));
}
