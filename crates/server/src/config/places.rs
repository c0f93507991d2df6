//! Where files lie that nobody has named: in what systemd has made for the service, else where the user's programs keep theirs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use leafresh_hub::Cache;

use super::Error;

/// A variable of the environment.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Of this program, below a folder that it shares with others.
const OWN: &str = "leafresh";

/// The process's own variables.
pub(super) fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// The folder for what has to be remembered.
pub(super) fn data(lookup: Lookup) -> Result<PathBuf, Error> {
    bases(lookup, ["STATE_DIRECTORY", "XDG_DATA_HOME", ".local/share"]).into_iter().next().ok_or_else(|| {
        Error(
            "data.dir: there is no place for what has to be remembered, as neither STATE_DIRECTORY, XDG_DATA_HOME nor HOME \
             is set; name a folder with --data or data.dir"
                .into(),
        )
    })
}

/// The model file of this name: where there is one, else where it would be looked for first.
pub(super) fn model(lookup: Lookup, name: &str) -> Option<PathBuf> {
    let bases = bases(lookup, ["CACHE_DIRECTORY", "XDG_CACHE_HOME", ".cache"]);
    let files: Vec<_> = bases.into_iter().map(|base| base.join("models").join(name)).collect();
    files.iter().find(|file| file.exists()).or(files.first()).cloned()
}

/// The cache of the Hugging Face Hub: where its own tools are told to have it, else where the service manager says, else where
/// they have it.
pub(super) fn hub(lookup: Lookup) -> Option<PathBuf> {
    Cache::named(lookup)
        .or_else(|| Some(of_service(lookup, "CACHE_DIRECTORY")?.join("huggingface/hub")))
        .or_else(|| Cache::usual(lookup))
}

/// A path with a leading `~/` replaced by the home directory; `key` is the setting that it comes from.
pub(super) fn at_home(lookup: Lookup, key: &str, path: &Path) -> Result<PathBuf, Error> {
    let Ok(rest) = path.strip_prefix("~") else { return Ok(path.to_owned()) };
    let home = folder(lookup, "HOME").ok_or_else(|| {
        Error(format!(
            "{key}: {} is in the home directory, but HOME is not set; write the whole path",
            path.display()
        ))
    })?;
    Ok(home.join(rest))
}

/// Of a service manager, of the user's own choice, of the home directory, as far as they are set.
fn bases(lookup: Lookup, [service, user, home]: [&str; 3]) -> Vec<PathBuf> {
    let service = of_service(lookup, service);
    let user = folder(lookup, user).map(|user| user.join(OWN));
    let home = folder(lookup, "HOME").map(|path| path.join(home).join(OWN));
    [service, user, home].into_iter().flatten().collect()
}

/// systemd joins several with colons.
fn of_service(lookup: Lookup, name: &str) -> Option<PathBuf> {
    let list = lookup(name)?.into_string().ok()?;
    absolute(list.split(':').next()?.into())
}

fn folder(lookup: Lookup, name: &str) -> Option<PathBuf> {
    absolute(lookup(name)?.into())
}

/// The XDG specification has relative paths passed over; an empty one is none.
fn absolute(path: PathBuf) -> Option<PathBuf> {
    path.is_absolute().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs = &'static [(&'static str, &'static str)];

    fn with(variables: Pairs) -> impl Fn(&str) -> Option<OsString> {
        move |name| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).into())
    }

    /// Field report 1.
    #[test]
    fn data_lie_where_the_service_manager_says_else_the_user_else_at_home() {
        let cases: &[(Pairs, Option<&str>)] = &[
            (
                &[("HOME", "/h"), ("XDG_DATA_HOME", "/x"), ("STATE_DIRECTORY", "/var/lib/leafresh")],
                Some("/var/lib/leafresh"),
            ),
            (&[("STATE_DIRECTORY", "/var/lib/a:/var/lib/b")], Some("/var/lib/a")),
            (&[("HOME", "/h"), ("XDG_DATA_HOME", "/x")], Some("/x/leafresh")),
            (&[("HOME", "/h"), ("XDG_DATA_HOME", "x")], Some("/h/.local/share/leafresh")),
            (&[("HOME", "/h"), ("XDG_DATA_HOME", "")], Some("/h/.local/share/leafresh")),
            (&[("HOME", "")], None),
            (&[], None),
        ];
        for (variables, expected) in cases {
            match (data(&with(variables)), expected) {
                (Ok(found), Some(expected)) => assert_eq!(found, Path::new(expected)),
                (Err(error), None) => assert!(error.to_string().contains("data.dir"), "{error}"),
                (found, _) => panic!("{variables:?}: {found:?}"),
            }
        }
    }

    /// Field report 1.
    #[test]
    fn a_model_is_taken_from_where_there_is_one() {
        let variables: &[(&str, &str)] =
            &[("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("CACHE_DIRECTORY", "/var/cache/leafresh")];
        let first = |skip: usize| model(&with(&variables[..variables.len() - skip]), "a.gguf").unwrap();
        assert_eq!(first(0), Path::new("/var/cache/leafresh/models/a.gguf"));
        assert_eq!(first(1), Path::new("/x/leafresh/models/a.gguf"));
        assert_eq!(first(2), Path::new("/h/.cache/leafresh/models/a.gguf"));
        assert_eq!(model(&with(&[]), "a.gguf"), None);

        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".cache/leafresh/models/a.gguf");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "").unwrap();
        let lookup = |name: &str| match name {
            "HOME" => Some(home.path().into()),
            "XDG_CACHE_HOME" => Some("/nowhere".into()),
            _ => None,
        };
        assert_eq!(model(&lookup, "a.gguf"), Some(file));
    }

    #[test]
    fn the_hub_s_cache_is_that_of_its_tools_but_for_a_service() {
        let cases: &[(Pairs, Option<&str>)] = &[
            (&[("HOME", "/h"), ("HF_HOME", "/hf"), ("CACHE_DIRECTORY", "/c")], Some("/hf/hub")),
            (&[("HOME", "/h"), ("CACHE_DIRECTORY", "/c:/d")], Some("/c/huggingface/hub")),
            (&[("HOME", "/h")], Some("/h/.cache/huggingface/hub")),
            (&[], None),
        ];
        for (variables, expected) in cases {
            assert_eq!(hub(&with(variables)).as_deref(), expected.map(Path::new), "{variables:?}");
        }
    }

    /// Field report 1.
    #[test]
    fn without_a_home_a_tilde_is_an_error_and_no_folder_of_that_name() {
        let error = at_home(&with(&[]), "model.path", Path::new("~/a.gguf")).unwrap_err().to_string();
        assert!(error.starts_with("model.path: ~/a.gguf"), "{error}");
        let found = at_home(&with(&[("HOME", "/h")]), "model.path", Path::new("~/a.gguf")).unwrap();
        assert_eq!(found, Path::new("/h/a.gguf"));
        assert_eq!(at_home(&with(&[]), "x", Path::new("a/~/b")).unwrap(), Path::new("a/~/b"));
    }
}
