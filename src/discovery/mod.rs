//! Where the backends of a pool come from: implementations of pingora's [`ServiceDiscovery`], and what every one of them,
//! built-in or not, is wrapped in.

mod configured;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use log::{info, warn};
use pingora_core::Result;
use pingora_load_balancing::Backend;
use pingora_load_balancing::discovery::ServiceDiscovery;

use crate::backend::Roster;

pub use configured::Configured;

/// A source of backends that our code can hold without knowing which.
pub type Source = Box<dyn ServiceDiscovery + Send + Sync>;

/// Hands what a source finds to the pool's [`Roster`], and keeps the last good answer: a source that fails, or suddenly
/// finds nothing, takes nobody out. A weight of 0 (which makes pingora's own algorithms panic) means no new work.
pub(crate) struct Tracked {
    pool: String,
    source: Source,
    roster: Arc<Roster>,
    last: arc_swap::ArcSwap<BTreeSet<Backend>>,
}

impl Tracked {
    pub(crate) fn new(pool: &str, source: Source, roster: Arc<Roster>) -> Self {
        Tracked { pool: pool.to_owned(), source, roster, last: arc_swap::ArcSwap::default() }
    }
}

/// What can be picked: without weight 0, and each address once, for state is kept by address.
fn usable(found: BTreeSet<Backend>) -> BTreeSet<Backend> {
    let mut seen = HashSet::new();
    found.into_iter().filter(|backend| backend.weight > 0 && seen.insert(backend.addr.clone())).collect()
}

#[async_trait]
impl ServiceDiscovery for Tracked {
    async fn discover(&self) -> Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let last = self.last.load_full();
        let found: BTreeSet<Backend> = match self.source.discover().await {
            Ok((found, _)) => usable(found),
            // Nothing to go on with: to be tried again soon.
            Err(e) if last.is_empty() => {
                warn!("pool {}: discovery failed: {e}", self.pool);
                return Err(e);
            }
            Err(e) => {
                warn!("pool {}: discovery failed, {} backends stay as they are: {e}", self.pool, last.len());
                return Ok((last.as_ref().clone(), HashMap::new()));
            }
        };
        if found.is_empty() && !last.is_empty() {
            warn!("pool {}: discovery found nobody, {} backends stay as they are", self.pool, last.len());
            return Ok((last.as_ref().clone(), HashMap::new()));
        }
        if found != *last {
            info!("pool {}: {} backends", self.pool, found.len());
            self.roster.set_members(&found);
            self.last.store(Arc::new(found.clone()));
        }
        Ok((found, HashMap::new()))
    }
}
