//! Where the catalogue's files come from: a folder, or the program itself.

use std::io;
use std::path::{Path, PathBuf};

use rust_embed::Embed;

use crate::Error;

/// The repository's `catalog/`, as it was when the program was built.
#[derive(Embed)]
#[folder = "../../catalog"]
struct BuiltIn;

/// Stands for the built-in catalogue in messages that name a file.
const BUILT_IN: &str = "built-in catalogue";

/// The files of one catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files(Source);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    BuiltIn,
    Folder(PathBuf),
}

impl Files {
    /// Those that the program was built with.
    pub fn built_in() -> Self {
        Self(Source::BuiltIn)
    }

    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self(Source::Folder(folder.into()))
    }

    /// The path of a file, for messages.
    pub fn path(&self, name: &str) -> PathBuf {
        match &self.0 {
            Source::BuiltIn => Path::new(BUILT_IN).join(name),
            Source::Folder(folder) => folder.join(name),
        }
    }

    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        let read = match &self.0 {
            Source::BuiltIn => BuiltIn::get(name)
                .map(|file| file.data.into_owned())
                .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound)),
            Source::Folder(folder) => std::fs::read(folder.join(name)),
        };
        read.map_err(|source| Error::Io { path: self.path(name), source })
    }

    pub fn has(&self, name: &str) -> bool {
        match &self.0 {
            Source::BuiltIn => BuiltIn::get(name).is_some(),
            Source::Folder(folder) => folder.join(name).exists(),
        }
    }

    /// The names of the files directly in `folder`, hidden ones too, in no order.
    ///
    /// # Errors
    /// [`Error::Io`] with the folder's path.
    pub(super) fn names_in(&self, folder: &str) -> Result<Vec<String>, Error> {
        match &self.0 {
            Source::BuiltIn => {
                let inside = |name: &str| name.strip_prefix(folder)?.strip_prefix('/').map(str::to_owned);
                Ok(BuiltIn::iter()
                    .filter_map(|name| inside(&name))
                    .filter(|name| !name.contains('/'))
                    .collect())
            }
            Source::Folder(root) => {
                let path = root.join(folder);
                let fail = |source| Error::Io { path: path.clone(), source };
                let entries = std::fs::read_dir(&path).map_err(fail)?;
                let name =
                    |entry: io::Result<std::fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into());
                entries.map(name).collect::<io::Result<_>>().map_err(fail)
            }
        }
    }

    /// The names of all files, in folders too, sorted; hidden ones aside.
    ///
    /// # Errors
    /// [`Error::Io`] with the folder's path.
    pub(super) fn names(&self) -> Result<Vec<String>, Error> {
        let mut names: Vec<String> = match &self.0 {
            Source::BuiltIn => BuiltIn::iter().map(Into::into).collect(),
            Source::Folder(root) => {
                let mut names = Vec::new();
                collect(root, "", &mut names).map_err(|(path, source)| Error::Io { path, source })?;
                names
            }
        };
        names.sort();
        Ok(names)
    }

    /// Writes the built-in catalogue into a folder, to be adapted. Gives the number of files.
    ///
    /// # Errors
    /// [`Error::Io`]: the folder holds something already, or can't be written.
    pub fn export(folder: &Path) -> Result<usize, Error> {
        let fail = |path: &Path, source| Error::Io { path: path.to_owned(), source };
        if std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
            let reason = "the folder isn't empty; name a new one, or move what is there";
            return Err(fail(folder, io::Error::new(io::ErrorKind::AlreadyExists, reason)));
        }
        let mut count = 0;
        for name in BuiltIn::iter() {
            let Some(file) = BuiltIn::get(&name) else { continue };
            let path = folder.join(&*name);
            let parent = path.parent().unwrap_or(folder);
            std::fs::create_dir_all(parent).map_err(|error| fail(parent, error))?;
            std::fs::write(&path, &file.data).map_err(|error| fail(&path, error))?;
            count += 1;
        }
        Ok(count)
    }
}

/// The files below `folder`, which the names begin with. Links to folders aren't followed: they may lead in a circle.
fn collect(folder: &Path, before: &str, names: &mut Vec<String>) -> Result<(), (PathBuf, io::Error)> {
    let fail = |error| (folder.to_owned(), error);
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        if entry.file_type().map_err(fail)?.is_dir() {
            collect(&entry.path(), &format!("{before}{name}/"), names)?;
        } else {
            names.push(format!("{before}{name}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Catalog;

    #[test]
    fn the_built_in_catalogue_is_the_repositorys_and_can_be_written_out() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("mine");
        let count = Files::export(&target).unwrap();
        assert!(count > 20, "{count}");
        let repository = Files::in_folder(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../catalog"));
        for name in BuiltIn::iter() {
            let written = Files::in_folder(&target).read(&name).unwrap();
            assert_eq!(written, repository.read(&name).unwrap(), "{name}");
            assert_eq!(written, Files::built_in().read(&name).unwrap(), "{name}");
        }
        let built_in = Catalog::of(&Files::built_in()).unwrap();
        assert_eq!(Catalog::load(&target).unwrap().documents(), built_in.documents());
        let error = Files::export(&target).unwrap_err().to_string();
        assert!(error.contains("isn't empty"), "{error}");
        assert!(!Files::built_in().has("nothing.toml"));
    }
}
