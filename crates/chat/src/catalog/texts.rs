//! All that a catalogue says, whatever it is for: what a vocabulary has to be able to write.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Files, source};
use crate::Error;

impl Files {
    /// Every text of the files whose names `wanted` takes, once: the strings in JSON lines and in TOML, templates as they are. Files
    /// of other kinds are passed over.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Catalog`] with file and line where one can't be understood.
    pub fn texts(&self, wanted: impl Fn(&str) -> bool) -> Result<BTreeSet<String>, Error> {
        let mut texts = BTreeSet::new();
        for name in self.names()?.into_iter().filter(|name| wanted(name)) {
            let extension = Path::new(&name).extension().and_then(|extension| extension.to_str());
            match extension {
                Some("jsonl") => source::json_lines(self, &[name], |line| {
                    of_json(line, &mut texts);
                    Ok(())
                })?,
                Some("toml") => {
                    let (text, path) = source::read(self, &name)?;
                    let table: toml::Table = source::from_toml(&text, &path)?;
                    table.into_iter().for_each(|(_, value)| of_toml(value, &mut texts));
                }
                Some("j2") => _ = texts.insert(source::read(self, &name)?.0),
                _ => {}
            }
        }
        Ok(texts)
    }
}

fn of_json(value: serde_json::Value, texts: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::String(text) => _ = texts.insert(text),
        serde_json::Value::Array(list) => list.into_iter().for_each(|value| of_json(value, texts)),
        serde_json::Value::Object(fields) => fields.into_iter().for_each(|(_, value)| of_json(value, texts)),
        _ => {}
    }
}

fn of_toml(value: toml::Value, texts: &mut BTreeSet<String>) {
    match value {
        toml::Value::String(text) => _ = texts.insert(text),
        toml::Value::Array(list) => list.into_iter().for_each(|value| of_toml(value, texts)),
        toml::Value::Table(fields) => fields.into_iter().for_each(|(_, value)| of_toml(value, texts)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn strings_of_all_files_are_found_each_once_however_deep_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("x.jsonl"), "{\"가\": [\"줄\\n바꿈\", {\"b\": \"둘\"}], \"n\": 1}\n\n\"셋\"\n")
            .unwrap();
        fs::write(dir.path().join("y.toml"), "k = \"둘\"\n[t]\nl = [\"넷\", 5]\n").unwrap();
        fs::write(folder.join("z.j2"), "{{ message }}: 다섯").unwrap();
        fs::write(folder.join("z.md"), "여섯").unwrap();
        fs::write(folder.join(".z.j2"), "일곱").unwrap();
        let files = Files::in_folder(dir.path());
        let found = files.texts(|_| true).unwrap();
        let expected = ["줄\n바꿈", "둘", "셋", "넷", "{{ message }}: 다섯"];
        assert_eq!(found, expected.map(String::from).into());
        let found = files.texts(|name| name == "y.toml").unwrap();
        assert_eq!(found, ["둘", "넷"].map(String::from).into());
    }

    #[test]
    fn a_file_that_is_damaged_is_named_with_the_line() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x.jsonl"), "{}\n{\"a\": \n").unwrap();
        let error = Files::in_folder(dir.path()).texts(|_| true).unwrap_err().to_string();
        assert!(error.contains("x.jsonl") && error.contains('2'), "{error}");
        assert!(Files::in_folder(dir.path().join("none")).texts(|_| true).is_err());
    }

    #[test]
    fn the_built_in_catalogue_is_the_same_wherever_it_lies() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("mine");
        Files::export(&target).unwrap();
        let built_in = Files::built_in().texts(|_| true).unwrap();
        assert!(built_in.len() > 10_000, "{}", built_in.len());
        assert_eq!(Files::in_folder(&target).texts(|_| true).unwrap(), built_in);
    }
}
