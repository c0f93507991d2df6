//! Names of models on the Hub: `hf:OWNER/REPO`, `hf:OWNER/REPO:Q4_K_M`, `hf:OWNER/REPO:file.gguf`.

use std::fmt;

use crate::Error;

/// What a name begins with.
const SCHEME: &str = "hf:";

const ENDING: &str = ".gguf";

/// Quantisations that are taken where none is named, the first that there is.
const USUAL: [&str; 3] = ["Q4_K_M", "Q4_0", "Q8_0"];

/// Names listed in an error.
const LISTED: usize = 12;

/// Longer names than the Hub has.
const LONGEST: usize = 96;

/// `OWNER/REPO`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoId {
    owner: String,
    name: String,
}

impl RepoId {
    /// # Errors
    /// [`Error::Name`] with what was expected.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let part = |part: &str| {
            let plain = part.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
            plain
                && !part.is_empty()
                && part.len() <= LONGEST
                && !part.starts_with('.')
                && !part.contains("--")
                && !part.contains("..")
        };
        match text.split_once('/') {
            Some((owner, name)) if part(owner) && part(name) => {
                Ok(Self { owner: owner.to_owned(), name: name.to_owned() })
            }
            _ => Err(Error::Name(format!(
                "`{text}` is no repository; expected OWNER/REPO, such as Qwen/Qwen3-0.6B-GGUF"
            ))),
        }
    }

    /// The folder's name in the cache.
    pub(crate) fn folder(&self) -> String {
        format!("models--{}--{}", self.owner, self.name)
    }

    /// From the folder's name.
    pub(crate) fn of_folder(folder: &str) -> Option<Self> {
        Self::parse(&folder.strip_prefix("models--")?.replacen("--", "/", 1)).ok()
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

/// A model of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub repo: RepoId,
    /// A quantisation, such as Q4_K_M, or a file's whole name.
    pub quant: Option<String>,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.repo)?;
        self.quant.iter().try_for_each(|quant| write!(f, ":{quant}"))
    }
}

impl Reference {
    /// Whether a text is meant as one.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// # Errors
    /// [`Error::Name`] with what was expected.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let Some(rest) = text.strip_prefix(SCHEME) else {
            return Err(Error::Name(format!(
                "`{text}` doesn't begin with {SCHEME}; expected hf:OWNER/REPO[:QUANT]"
            )));
        };
        let (repo, quant) = match rest.split_once(':') {
            Some((repo, quant)) => (repo, Some(quant)),
            None => (rest, None),
        };
        let repo = RepoId::parse(repo)?;
        let quant = quant.map(str::to_owned);
        if quant.as_deref().is_some_and(|quant| quant.is_empty() || quant.contains(':')) {
            return Err(Error::Name(format!(
                "`{text}` names no quantisation; expected hf:{repo}:Q4_K_M for instance, or hf:{repo} alone"
            )));
        }
        Ok(Self { repo, quant })
    }

    /// The files that are meant, of all in the repository: one, or the parts of a split model in their order.
    ///
    /// # Errors
    /// [`Error::NoFile`] with what there is, when none is meant, several are, or parts are missing.
    pub fn choose<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<&'a str>, Error> {
        let mut models: Vec<Model<'a>> = Vec::new();
        let mut names: Vec<&str> = names.into_iter().filter(|name| is_model(name)).collect();
        names.sort_unstable();
        for name in names {
            let split = Split::of(name);
            let stem = split.as_ref().map_or(name, |split| split.stem);
            match models.iter_mut().find(|model| model.stem == stem && split.is_some()) {
                Some(model) => model.files.push(name),
                None => {
                    let parts = split.map_or(1, |split| split.of);
                    models.push(Model { stem, parts, files: vec![name] });
                }
            }
        }
        let model = self.one(&models)?;
        if model.files.len() != model.parts {
            return Err(Error::NoFile(format!(
                "{} of {} parts of {} are there",
                model.files.len(),
                model.parts,
                model.stem
            )));
        }
        Ok(model.files.clone())
    }

    fn one<'m, 'a>(&self, models: &'m [Model<'a>]) -> Result<&'m Model<'a>, Error> {
        let found: Vec<&Model> = match &self.quant {
            Some(quant) => match models.iter().find(|model| model.files.iter().any(|file| file == quant)) {
                Some(named) => return Ok(named),
                None => models.iter().filter(|model| says(model.stem, quant)).collect(),
            },
            None => match USUAL.iter().find_map(|usual| {
                let found: Vec<_> = models.iter().filter(|model| says(model.stem, usual)).collect();
                (!found.is_empty()).then_some(found)
            }) {
                Some(found) => found,
                None => models.iter().collect(),
            },
        };
        let all: Vec<&Model> = models.iter().collect();
        match found[..] {
            [model] => Ok(model),
            [] if all.is_empty() => {
                Err(Error::NoFile(format!("{} has no GGUF file; look for its GGUF version", self.repo)))
            }
            [] => {
                Err(Error::NoFile(format!("{self}: there is no such file. {} has {}", self.repo, list(&all))))
            }
            _ => Err(Error::NoFile(format!(
                "{self} may be one of several files; name one, as hf:{}:FILE: {}",
                self.repo,
                list(&found)
            ))),
        }
    }
}

/// A file, or the parts of one.
struct Model<'a> {
    /// The name that its parts have in common.
    stem: &'a str,
    parts: usize,
    files: Vec<&'a str>,
}

fn list(models: &[&Model]) -> String {
    let text = models.iter().take(LISTED).map(|model| model.files[0]).collect::<Vec<_>>().join(", ");
    match models.len().saturating_sub(LISTED) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

/// Whether a file is a language model's, by its name: others extend one (`mmproj`), or helped to make it (`imatrix`).
fn is_model(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    file.ends_with(ENDING) && !file.contains("mmproj") && !file.contains("imatrix")
}

/// Whether a name has the quantisation in it as a word of its own: Q4_K isn't in `Q4_K_M`.
fn says(name: &str, quant: &str) -> bool {
    let (name, quant) = (name.to_ascii_uppercase(), quant.to_ascii_uppercase());
    let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.match_indices(&quant)
        .any(|(at, _)| !name[..at].ends_with(in_word) && !name[at + quant.len()..].starts_with(in_word))
}

/// A part of a split model: `NAME-00001-of-00003.gguf`.
struct Split<'a> {
    stem: &'a str,
    of: usize,
}

impl<'a> Split<'a> {
    fn of(name: &'a str) -> Option<Self> {
        let digits = |text: &str| (text.len() == 5).then(|| text.parse::<usize>().ok()).flatten();
        let rest = name.strip_suffix(ENDING)?;
        let (rest, of) = rest.rsplit_once("-of-")?;
        let (stem, part) = rest.rsplit_once('-')?;
        let (of, part) = (digits(of)?, digits(part)?);
        (1..=of).contains(&part).then_some(Self { stem, of })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNSLOTH: [&str; 7] = [
        "README.md",
        "gemma-3-1b-it-Q4_K_M.gguf",
        "gemma-3-1b-it-Q4_K_S.gguf",
        "gemma-3-1b-it-Q8_0.gguf",
        "gemma-3-1b-it-UD-Q4_K_XL.gguf",
        "mmproj-BF16.gguf",
        "imatrix_unsloth.gguf",
    ];
    const SPLIT: [&str; 4] = [
        "BF16/a-BF16-00002-of-00002.gguf",
        "BF16/a-BF16-00001-of-00002.gguf",
        "Q6_K/a-Q6_K-00001-of-00003.gguf",
        "Q6_K/a-Q6_K-00003-of-00003.gguf",
    ];

    fn choose(reference: &str, names: &[&'static str]) -> Result<Vec<&'static str>, String> {
        Reference::parse(reference).unwrap().choose(names.iter().copied()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_has_an_owner_a_repository_and_perhaps_a_quantisation() {
        let reference = Reference::parse("hf:Qwen/Qwen3-0.6B-GGUF:Q8_0").unwrap();
        assert_eq!(reference.repo.folder(), "models--Qwen--Qwen3-0.6B-GGUF");
        assert_eq!(RepoId::of_folder("models--Qwen--Qwen3-0.6B-GGUF"), Some(reference.repo.clone()));
        assert_eq!(
            (reference.quant.as_deref(), reference.to_string().as_str()),
            (Some("Q8_0"), "hf:Qwen/Qwen3-0.6B-GGUF:Q8_0")
        );
        assert_eq!(Reference::parse("hf:a/b").unwrap().quant, None);
        for bad in [
            "hf:",
            "hf:a",
            "a/b",
            "hf:a/b/c",
            "hf:a/b:",
            "hf:a/b:c:d",
            "hf:../b",
            "hf:a/..",
            "hf:a/b c",
            "hf:a--b/c",
            "hf:/b",
        ] {
            assert!(Reference::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_quantisation_names_the_file_and_without_one_the_usual_one_is_taken() {
        let cases = [
            ("hf:a/b", &UNSLOTH[..], Ok("gemma-3-1b-it-Q4_K_M.gguf")),
            ("hf:a/b:q8_0", &UNSLOTH, Ok("gemma-3-1b-it-Q8_0.gguf")),
            ("hf:a/b:Q4_K_XL", &UNSLOTH, Ok("gemma-3-1b-it-UD-Q4_K_XL.gguf")),
            ("hf:a/b:gemma-3-1b-it-Q4_K_S.gguf", &UNSLOTH, Ok("gemma-3-1b-it-Q4_K_S.gguf")),
            ("hf:a/b:Q4_K", &UNSLOTH, Err("there is no such file. a/b has gemma-3-1b-it-Q4_K_M.gguf")),
            ("hf:a/b", &["x.Q8_0.gguf", "x.F16.gguf"], Ok("x.Q8_0.gguf")),
            ("hf:a/b", &["x.F16.gguf"], Ok("x.F16.gguf")),
            ("hf:a/b", &["x.F16.gguf", "x.BF16.gguf"], Err("may be one of several")),
            ("hf:a/b:F16", &["x.F16.gguf", "x.BF16.gguf"], Ok("x.F16.gguf")),
            ("hf:a/b:Q4_0", &["x-Q4_0.gguf", "y-Q4_0.gguf"], Err("hf:a/b:FILE")),
            ("hf:a/b", &["model.safetensors"], Err("has no GGUF file")),
        ];
        for (reference, names, expected) in cases {
            match (choose(reference, names), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, [expected], "{reference}"),
                (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
                (found, expected) => panic!("{reference}: {found:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn the_parts_of_a_split_model_are_one_model_and_have_to_be_there() {
        assert_eq!(choose("hf:a/b:BF16", &SPLIT).unwrap(), [SPLIT[1], SPLIT[0]]);
        assert!(choose("hf:a/b:Q6_K", &SPLIT).unwrap_err().contains("2 of 3 parts"));
        assert_eq!(choose("hf:a/b:BF16/a-BF16-00002-of-00002.gguf", &SPLIT).unwrap().len(), 2);
    }

    proptest! {
        #[test]
        fn fuzz_names_are_read_or_refused_and_stay_in_their_folder(text in "(hf:)?[a-zA-Z0-9./:_ -]{0,24}") {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert_eq!(Reference::parse(&reference.to_string()).unwrap(), reference.clone());
                let folder = reference.repo.folder();
                prop_assert!(!folder.contains('/') && !folder.contains(".."));
                prop_assert_eq!(RepoId::of_folder(&folder), Some(reference.repo));
            }
        }
    }
}
