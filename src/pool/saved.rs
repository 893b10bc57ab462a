//! What a process tells its successor of a pool.

use serde::{Deserialize, Serialize};

use super::Pool;
use crate::backend::SavedBackend;

/// A pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedPool {
    /// Its name.
    pub name: String,
    /// Everybody of whom something is known.
    pub backends: Vec<SavedBackend>,
}

impl Pool {
    /// What a successor should know of it.
    pub(crate) fn save(&self) -> SavedPool {
        let rules = self.ejection.clone().unwrap_or_default();
        SavedPool { name: self.name.clone(), backends: self.roster.save(&rules) }
    }

    /// Know what a predecessor knew, of each backend when it comes.
    pub(crate) fn restore(&self, saved: SavedPool) {
        let mut backends = saved.backends;
        for backend in &mut backends {
            if self.check.is_none() {
                // Nobody would ever find it healthy again.
                (backend.health, backend.reason) = (None, None);
            }
            if self.ejection.is_none() {
                backend.ejection = None;
            }
        }
        self.roster.expect(backends);
    }
}
