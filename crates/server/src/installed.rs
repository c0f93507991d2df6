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
    gone: Counts,
}

/// A model that was replaced, and what it had counted when it was looked at last.
struct Leaving {
    backend: Weak<dyn Backend>,
    counts: Counts,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    steps: u64,
    nan_logits: u64,
    preemptions: u64,
    restarts: u64,
}

impl Counts {
    fn of(health: &Health) -> Self {
        let Health { steps, nan_logits, preemptions, restarts, .. } = *health;
        Self { steps, nan_logits, preemptions, restarts }
    }

    fn add_to(self, health: &mut Health) {
        health.steps += self.steps;
        health.nan_logits += self.nan_logits;
        health.preemptions += self.preemptions;
        health.restarts += self.restarts;
    }

    fn add(&mut self, other: Self) {
        self.steps += other.steps;
        self.nan_logits += other.nan_logits;
        self.preemptions += other.preemptions;
        self.restarts += other.restarts;
    }
}

impl Installed {
    /// New requests go to this one from now on.
    pub(crate) fn install(&self, recommender: Arc<Recommender>) {
        let mut models = self.write();
        if let Some(before) = models.now.replace(recommender) {
            let backend = before.shared_backend();
            let counts = Counts::of(&backend.health());
            models.leaving.push(Leaving { backend: Arc::downgrade(&backend), counts });
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
        models.gone.add_to(&mut all);
        for leaving in &models.leaving {
            leaving.counts.add_to(&mut all);
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
                leaving.counts = Counts::of(&backend.health());
                true
            }
            None => {
                gone.add(leaving.counts);
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
