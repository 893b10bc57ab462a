//! A source whose first answer is known already.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use pingora_core::Result;
use pingora_load_balancing::Backend;
use pingora_load_balancing::discovery::ServiceDiscovery;

use super::Source;

/// A source that was asked before there was a pool for it: what it found is the pool's first answer, so that what was said of it
/// in advance is what becomes of it.
pub(crate) struct Primed {
    first: Mutex<Option<BTreeSet<Backend>>>,
    source: Source,
}

impl Primed {
    pub(crate) fn new(first: BTreeSet<Backend>, source: Source) -> Self {
        Primed { first: Mutex::new(Some(first)), source }
    }
}

#[async_trait]
impl ServiceDiscovery for Primed {
    async fn discover(&self) -> Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        match first {
            Some(found) => Ok((found, HashMap::new())),
            None => self.source.discover().await,
        }
    }
}
