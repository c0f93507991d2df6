//! The model that answers, and those before it that still write what they began.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use leafresh_chat::Recommender;
use leafresh_engine::{Backend, Health};

/// A model can be replaced while it writes: each answer keeps the one that it began with, and the last of them ends it.
#[derive(Default)]
pub(crate) struct Installed(RwLock<Models>);

#[derive(Default)]
struct Models {
    now: Option<Arc<Recommender>>,
    leaving: Vec<Leaving>,
    /// What models counted that are gone.
    gone: Health,
}

/// A model that was replaced, and what it had counted when it was looked at last.
struct Leaving {
    backend: Weak<dyn Backend>,
    last: Health,
}

impl Installed {
    /// New requests go to this one from now on.
    pub(crate) fn install(&self, recommender: Arc<Recommender>) {
        let mut models = self.write();
        if let Some(before) = models.now.replace(recommender) {
            let backend = before.shared_backend();
            let last = backend.health();
            models.leaving.push(Leaving { backend: Arc::downgrade(&backend), last });
        }
    }

    pub(crate) fn get(&self) -> Option<Arc<Recommender>> {
        self.read().now.clone()
    }

    /// How the models do, together: what runs on those that were replaced counts too.
    pub(crate) fn health(&self) -> Health {
        self.look();
        let models = self.read();
        let Some(now) = &models.now else { return Health::default() };
        let mut all = now.backend().health();
        all.add_counts(&models.gone);
        for leaving in &models.leaving {
            all.add_counts(&leaving.last);
            if let Some(backend) = leaving.backend.upgrade() {
                let health = backend.health();
                all.running += health.running;
                all.queued += health.queued;
                all.parked += health.parked;
                all.kv_used += health.kv_used;
                all.kv_total += health.kv_total;
            }
        }
        all
    }

    /// Notes what models that were replaced have counted, while there is somebody to tell it.
    pub(crate) fn look(&self) {
        if self.read().leaving.is_empty() {
            return;
        }
        let mut models = self.write();
        let Models { leaving, gone, .. } = &mut *models;
        leaving.retain_mut(|leaving| match leaving.backend.upgrade() {
            Some(backend) => {
                leaving.last = backend.health();
                true
            }
            None => {
                gone.add_counts(&leaving.last);
                false
            }
        });
    }

    fn read(&self) -> RwLockReadGuard<'_, Models> {
        // Nothing in there is left half done by a panic.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Models> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
