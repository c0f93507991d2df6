//! A look at an index that changes nothing: whether it is there, whole, and made for this model and this catalogue.

use std::collections::HashMap;

use leafresh_engine::EmbedderInfo;

use crate::corpus::Corpus;
use crate::store::{self, PointId, Record, fingerprint};
use crate::{Document, Error, Location};

/// What an index is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// Of the Qdrant server; None for a folder.
    pub version: Option<String>,
    /// None: there is no index at that place yet.
    pub contents: Option<Contents>,
}

/// What an index holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    pub documents: usize,
    /// Documents of the catalogue that it lacks or has as they were before, and those that the catalogue has no longer. The
    /// server brings them up to date when it starts.
    pub outdated: usize,
}

/// Looks at the index at a place. `model`: the embedding model that will be used; without one it isn't compared. A folder may be
/// in use by another process meanwhile.
///
/// # Errors
/// [`Error::Mismatch`] when it was made with another model, [`Error::Store`] when it is damaged or the server can't be reached,
/// [`Error::Io`] when its files can't be read.
pub async fn examine(
    location: &Location,
    model: Option<&EmbedderInfo>,
    catalog: &[Document],
) -> Result<Examined, Error> {
    let store::Found { version, records } = store::examine(location, model).await?;
    let contents = records.map(|records| Contents {
        documents: records.len(),
        outdated: outdated(&Corpus::catalog(catalog), records),
    });
    Ok(Examined { version, contents })
}

fn outdated(catalog: &Corpus, records: Vec<Record>) -> usize {
    let mut wanted: HashMap<PointId, String> =
        catalog.at_hand().map(|document| (PointId::of(&document), fingerprint(&document))).collect();
    let changed = records.into_iter().filter(|record| {
        let of_catalog = record.origins.iter().all(|origin| catalog.covers(origin));
        match wanted.remove(&record.id) {
            // Another origin's id and source are as good as the catalogue's.
            Some(wanted) => of_catalog && wanted != record.fingerprint,
            None => of_catalog,
        }
    });
    changed.count() + wanted.len()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use leafresh_engine::Embedder;
    use leafresh_engine::fake::FakeEmbedder;

    use super::*;
    use crate::Index;

    fn documents(numbers: std::ops::Range<usize>) -> Vec<Document> {
        let document = |number: usize| Document {
            id: format!("d{number}"),
            title: format!("제목 {number}"),
            text: format!("본문 {number}\n둘째 줄"),
            ..Document::default()
        };
        numbers.map(document).collect()
    }

    fn names(folder: &std::path::Path) -> Vec<std::ffi::OsString> {
        let mut names: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_folder_is_looked_at_while_it_is_in_use_and_compared_with_catalogue_and_model() {
        let folder = tempfile::tempdir().unwrap();
        let place = Location::Folder(folder.path().join("index"));
        let embedder = Arc::new(FakeEmbedder::new(32));
        let info = embedder.info().clone();
        let look = async |model: &EmbedderInfo, documents: &[Document]| {
            examine(&place, Some(model), documents).await.map(|examined| examined.contents)
        };
        assert_eq!(look(&info, &documents(0..3)).await.unwrap(), None);
        assert!(names(folder.path()).is_empty(), "nothing was made");

        let index = Index::open(&place, embedder).await.unwrap();
        index.update(&Corpus::catalog(&documents(0..5))).await.unwrap();
        let before = names(&folder.path().join("index"));
        let fits = Contents { documents: 5, outdated: 0 };
        assert_eq!(look(&info, &documents(0..5)).await.unwrap(), Some(fits));
        let contents = Some(Contents { documents: 5, outdated: 2 + 1 });
        assert_eq!(look(&info, &documents(2..6)).await.unwrap(), contents, "two are gone, one is new");
        let mut renamed = documents(0..5);
        renamed[1].source = "elsewhere".into();
        assert_eq!(look(&info, &renamed).await.unwrap().unwrap().outdated, 1);
        assert_eq!(names(&folder.path().join("index")), before);

        let other = EmbedderInfo { dimension: 33, ..info.clone() };
        let error = look(&other, &[]).await.unwrap_err().to_string();
        assert!(error.contains("32 dimensions") && error.contains("--rebuild"), "{error}");

        drop(index);
        std::fs::remove_dir_all(folder.path().join("index/shard")).unwrap();
        let error = look(&info, &[]).await.unwrap_err().to_string();
        assert!(error.contains("damaged") && error.contains("--rebuild"), "{error}");
        std::fs::write(folder.path().join("index/manifest.json"), "{").unwrap();
        assert!(matches!(look(&info, &[]).await, Err(Error::Mismatch(_))));
    }
}
