//! Models with a short name: `models.toml`.

use std::sync::OnceLock;

use serde::Deserialize;

use crate::Reference;

/// A model that may be named without its place.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    pub name: String,
    /// `hf:OWNER/REPO:QUANT`.
    reference: String,
    /// Of the model, and where it can be read.
    pub licence: String,
    pub licence_url: String,
    /// About: megabytes to download; gigabytes of memory with the default settings.
    pub download_mb: u32,
    pub memory_gb: f32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    model: Vec<Known>,
}

/// All of them, in the order of the file.
pub fn known() -> &'static [Known] {
    static KNOWN: OnceLock<Vec<Known>> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let file: File = toml::from_str(include_str!("../models.toml")).expect("a test reads the file");
        file.model
    })
}

impl Known {
    /// The model of that name; capitals don't matter.
    pub fn find(name: &str) -> Option<&'static Self> {
        known().iter().find(|known| known.name.eq_ignore_ascii_case(name))
    }

    pub fn reference(&self) -> Reference {
        Reference::parse(&self.reference).expect("a test reads the file")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_has_a_name_of_its_own_a_place_a_licence_and_sizes() {
        let names: HashSet<_> = known().iter().map(|known| known.name.to_lowercase()).collect();
        assert_eq!((names.len(), known().len()), (10, 10));
        for known in known() {
            assert!(known.reference().quant.is_some(), "{known:?}");
            // Neither a path nor a reference.
            assert!(known.name.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c)), "{known:?}");
            assert!(!known.licence.is_empty() && known.licence_url.starts_with("https://"), "{known:?}");
            assert!(
                known.download_mb > 0 && known.memory_gb * 1000.0 > known.download_mb as f32,
                "{known:?}"
            );
        }
        assert!(Known::find("Qwen3-0.6B").is_some() && Known::find("qwen3").is_none());
    }
}
