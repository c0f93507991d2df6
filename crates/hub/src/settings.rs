//! What the Hub's other tools are told by the environment, and so are we.
//!
//! <https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables>

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Error;

/// A variable of the environment.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

const ENDPOINT: &str = "https://huggingface.co";

/// The variable that holds a token, and its older name.
const TOKEN: &str = "HF_TOKEN";
const OLD_TOKEN: &str = "HUGGING_FACE_HUB_TOKEN";

/// How the Hub is asked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `https://huggingface.co`, or a mirror; without a slash at its end.
    pub endpoint: String,
    pub token: Option<Token>,
    /// Nothing is asked.
    pub offline: bool,
    pub patience: Patience,
}

/// How long the network may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Tries in a row that bring nothing.
    pub tries: u32,
    /// Before the second of them; each later one waits twice as long.
    pub pause: Duration,
    /// Silence after which a connection counts as broken.
    pub silence: Duration,
    /// A server that asks to come back later than this isn't waited for.
    pub longest: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            tries: 6,
            pause: Duration::from_secs(1),
            silence: Duration::from_secs(30),
            longest: Duration::from_mins(5),
        }
    }
}

/// A token of the Hub.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    text: String,
    /// Where it comes from, for messages.
    pub source: String,
}

/// Without the token itself.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Token {
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Looked for in the variable, then in the file, then where the Hub's other tools keep it (`HF_TOKEN`, `HF_TOKEN_PATH`,
    /// `HF_HOME/token`).
    ///
    /// # Errors
    /// [`Error::Io`] when a file that was named can't be read.
    pub fn find(lookup: Lookup, variable: Option<&str>, file: Option<&Path>) -> Result<Option<Self>, Error> {
        let named = variable.map(|variable| vec![variable]);
        for variable in named.unwrap_or_else(|| vec![TOKEN, OLD_TOKEN]) {
            if let Some(text) = lookup(variable).and_then(|text| own(&text.to_string_lossy())) {
                return Ok(Some(Self { text, source: variable.to_owned() }));
            }
        }
        if let Some(file) = file {
            let text = std::fs::read_to_string(file).map_err(Error::io(file))?;
            return Ok(own(&text).map(|text| Self { text, source: file.display().to_string() }));
        }
        if is_set(lookup, "HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            return Ok(None);
        }
        let file = path(lookup, "HF_TOKEN_PATH").or_else(|| Some(home(lookup)?.join("token")));
        // Most have none.
        let text = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
        Ok(text.as_deref().and_then(own).map(|text| Self {
            text,
            source: file.map(|file| file.display().to_string()).unwrap_or_default(),
        }))
    }
}

/// What can be sent in a header, without the line break that editors add.
fn own(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| text.to_owned())
}

impl Settings {
    /// As the environment says, with this token.
    pub fn of(lookup: Lookup, token: Option<Token>) -> Self {
        let endpoint =
            lookup("HF_ENDPOINT").map(|text| text.to_string_lossy().trim().trim_end_matches('/').to_owned());
        Self {
            endpoint: endpoint.filter(|endpoint| !endpoint.is_empty()).unwrap_or_else(|| ENDPOINT.to_owned()),
            token,
            offline: is_set(lookup, "HF_HUB_OFFLINE"),
            patience: Patience::default(),
        }
    }
}

/// The folder of the cache that the Hub's tools share, where the environment names one (`HF_HUB_CACHE`, `HF_HOME`).
pub(crate) fn named_cache(lookup: Lookup) -> Option<PathBuf> {
    path(lookup, "HF_HUB_CACHE")
        .or_else(|| path(lookup, "HUGGINGFACE_HUB_CACHE"))
        .or_else(|| Some(path(lookup, "HF_HOME")?.join("hub")))
}

/// The same folder where nothing is named. None: there is no home.
pub(crate) fn usual_cache(lookup: Lookup) -> Option<PathBuf> {
    Some(home(lookup)?.join("hub"))
}

fn home(lookup: Lookup) -> Option<PathBuf> {
    path(lookup, "HF_HOME")
        .or_else(|| Some(path(lookup, "XDG_CACHE_HOME")?.join("huggingface")))
        .or_else(|| Some(path(lookup, "HOME")?.join(".cache/huggingface")))
}

fn path(lookup: Lookup, name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(lookup(name)?);
    if path.as_os_str().is_empty() {
        return None;
    }
    match path.strip_prefix("~") {
        Ok(rest) => Some(PathBuf::from(lookup("HOME")?).join(rest)),
        Err(_) => Some(path),
    }
}

/// As the Hub's library reads it.
fn is_set(lookup: Lookup, name: &str) -> bool {
    lookup(name).is_some_and(|text| {
        ["1", "ON", "YES", "TRUE"].contains(&text.to_string_lossy().to_ascii_uppercase().as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs<'a> = &'a [(&'a str, &'a str)];

    fn with(variables: Pairs) -> impl Fn(&str) -> Option<OsString> {
        move |name| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).into())
    }

    #[test]
    fn the_cache_lies_where_the_hub_s_other_tools_have_it() {
        let cases: &[(Pairs, Option<&str>, Option<&str>)] = &[
            (&[("HF_HUB_CACHE", "/c"), ("HF_HOME", "/h")], Some("/c"), Some("/h/hub")),
            (&[("HUGGINGFACE_HUB_CACHE", "/old")], Some("/old"), None),
            (&[("HF_HOME", "/h"), ("HOME", "/root")], Some("/h/hub"), Some("/h/hub")),
            (&[("HF_HOME", "~/hf"), ("HOME", "/root")], Some("/root/hf/hub"), Some("/root/hf/hub")),
            (&[("XDG_CACHE_HOME", "/x"), ("HOME", "/root")], None, Some("/x/huggingface/hub")),
            (&[("HOME", "/root"), ("HF_HOME", "")], None, Some("/root/.cache/huggingface/hub")),
            (&[], None, None),
        ];
        for (variables, named, usual) in cases {
            assert_eq!(named_cache(&with(variables)).as_deref(), named.map(Path::new), "{variables:?}");
            assert_eq!(usual_cache(&with(variables)).as_deref(), usual.map(Path::new), "{variables:?}");
        }
    }

    #[test]
    fn a_token_is_found_in_a_variable_or_a_file_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let (file, other) = (dir.path().join("token"), dir.path().join("mine"));
        std::fs::write(&file, "from-home\n").unwrap();
        std::fs::write(&other, " from-file ").unwrap();
        let home = dir.path().to_str().unwrap();
        let find = |variables: Pairs, variable: Option<&str>, file: Option<&Path>| {
            Token::find(&with(variables), variable, file).unwrap().map(|token| token.text)
        };
        let all = [("HF_TOKEN", "from-variable"), ("MINE", "from-mine"), ("HF_HOME", home)];
        assert_eq!(find(&all, None, None).as_deref(), Some("from-variable"));
        assert_eq!(find(&all, Some("MINE"), None).as_deref(), Some("from-mine"));
        assert_eq!(find(&all, Some("ABSENT"), Some(&other)).as_deref(), Some("from-file"));
        assert_eq!(find(&all[2..], None, None).as_deref(), Some("from-home"));
        assert_eq!(find(&[all[2], ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")], None, None), None);
        assert_eq!(find(&[("HF_TOKEN", "two words")], None, None), None);
        assert!(Token::find(&with(&[]), None, Some(&dir.path().join("absent"))).is_err());
        let token = Token::find(&with(&all), None, None).unwrap();
        assert_eq!(format!("{token:?}"), "Some(Token { source: \"HF_TOKEN\", .. })");
    }

    #[test]
    fn a_mirror_and_no_network_are_said_by_the_environment() {
        let settings =
            Settings::of(&with(&[("HF_ENDPOINT", "http://mirror:8080/"), ("HF_HUB_OFFLINE", "yes")]), None);
        assert_eq!((settings.endpoint.as_str(), settings.offline), ("http://mirror:8080", true));
        let settings = Settings::of(&with(&[("HF_ENDPOINT", ""), ("HF_HUB_OFFLINE", "0")]), None);
        assert_eq!((settings.endpoint.as_str(), settings.offline), (ENDPOINT, false));
    }
}
