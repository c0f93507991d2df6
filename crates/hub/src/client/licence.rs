//! Under which terms files may be used, as a repository's card names them.

use serde::Deserialize;

use crate::RepoId;

/// Under which terms a repository's files may be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Licence {
    /// As the repository names it: `apache-2.0`, `gemma`, `other` with a name of its own. Empty: it names none.
    pub name: String,
    /// Where it can be read.
    pub page: String,
}

#[derive(Deserialize, Default)]
pub(super) struct Card {
    license: Option<serde_json::Value>,
    license_name: Option<String>,
    license_link: Option<String>,
}

impl Card {
    pub(super) fn licence(self, endpoint: &str, id: &RepoId) -> Licence {
        // Some name several.
        let named = match self.license {
            Some(serde_json::Value::String(name)) => name,
            Some(serde_json::Value::Array(names)) => {
                names.iter().filter_map(serde_json::Value::as_str).collect::<Vec<_>>().join(", ")
            }
            _ => String::new(),
        };
        let name = match self.license_name {
            Some(own) if named == "other" || named.is_empty() => own,
            _ => named,
        };
        let repo = format!("{endpoint}/{id}");
        let page = match self.license_link {
            Some(link) if link.starts_with("https://") => link,
            // A file of the repository.
            Some(link) if !link.contains(':') => format!("{repo}/blob/main/{}", link.trim_start_matches('/')),
            _ => repo,
        };
        // Both are shown on a terminal.
        Licence { name: plain(&name), page: plain(&page) }
    }
}

fn plain(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_has_its_own_name_and_a_page_where_it_can_be_read() {
        let id = RepoId::parse("a/b").unwrap();
        let licence = |json: &str| {
            let licence = serde_json::from_str::<Card>(json).unwrap().licence("https://hub", &id);
            (licence.name, licence.page)
        };
        let cases = [
            (r#"{"license": "apache-2.0"}"#, "apache-2.0", "https://hub/a/b"),
            (
                r#"{"license": "other", "license_name": "exaone", "license_link": "LICENSE"}"#,
                "exaone",
                "https://hub/a/b/blob/main/LICENSE",
            ),
            (
                r#"{"license": "gemma", "license_link": "https://ai.google.dev/gemma/terms"}"#,
                "gemma",
                "https://ai.google.dev/gemma/terms",
            ),
            (
                r#"{"license": ["mit", "apache-2.0"], "license_link": "javascript:x"}"#,
                "mit, apache-2.0",
                "https://hub/a/b",
            ),
            ("{\"license\": \"\\u001b[2J evil\"}", "[2J evil", "https://hub/a/b"),
            ("{}", "", "https://hub/a/b"),
        ];
        for (json, name, page) in cases {
            assert_eq!(licence(json), (name.to_owned(), page.to_owned()), "{json}");
        }
    }
}
