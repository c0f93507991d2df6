//! Opening an index to search in it, at once or later.

use std::fmt;
use std::sync::Arc;

use leafresh_engine::Embedder;

use crate::store::{Later, Mode, open};
use crate::{Error, Index, Location, Search};

impl Search {
    /// Opens an index for searching by words alone, whatever it was made with. None: there is none.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Store`].
    pub async fn by_words(location: &Location) -> Result<Option<Self>, Error> {
        Ok(open(location, Mode::Existing).await?.map(|store| Self::new(None, store)))
    }

    /// Opens the index that was made with this embedding model. None: there is none.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when it was made with another one, [`Error::Locked`], [`Error::Store`].
    pub async fn with_model(location: &Location, embedder: Arc<dyn Embedder>) -> Result<Option<Self>, Error> {
        let store = open(location, Mode::Found(embedder.info())).await?;
        Ok(store.map(|store| Self::new(Some(embedder), store)))
    }

    /// A search over an index that isn't open yet: until [`Opener::open`] it embeds, and finding is [`Error::NotOpen`].
    pub fn later(embedder: Option<Arc<dyn Embedder>>) -> (Self, Opener) {
        let later = Arc::new(Later::default());
        (Self::new(embedder, later.clone()), Opener(later))
    }
}

/// Opens what [`Search::later`] waits for.
pub struct Opener(Arc<Later>);

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").finish_non_exhaustive()
    }
}

impl Opener {
    /// From now on the search finds what is in this index. Only the first call counts.
    pub fn open(&self, index: &Index) {
        self.0.open(index.store());
    }

    /// The same for an index that is only searched.
    pub fn open_found(&self, found: &Search) {
        self.0.open(found.store());
    }
}
