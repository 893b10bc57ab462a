//! Where the backends of a pool come from: implementations of pingora's `ServiceDiscovery`, and what every one of them,
//! built-in or not, is wrapped in.

mod configured;
mod primed;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use log::{info, warn};
use pingora_core::Result;
use pingora_load_balancing::Backend;
use pingora_load_balancing::discovery::ServiceDiscovery;

use crate::backend::Roster;

pub use configured::Configured;
pub(crate) use primed::Primed;

/// A source of backends that our code can hold without knowing which.
pub type Source = Box<dyn ServiceDiscovery + Send + Sync>;

/// Hands what a source finds to the pool's [`Roster`], and keeps the last good answer: a source that fails, or suddenly
/// finds nothing, takes nobody out. A weight of 0 (which makes pingora's own algorithms panic) means that the backend drains:
/// the roster keeps it, pingora never sees it.
pub(crate) struct Tracked {
    pool: String,
    source: Source,
    roster: Arc<Roster>,
}

impl Tracked {
    pub(crate) fn new(pool: &str, source: Source, roster: Arc<Roster>) -> Self {
        Tracked { pool: pool.to_owned(), source, roster }
    }

    /// What pingora is told.
    fn answer(&self) -> (BTreeSet<Backend>, HashMap<u64, bool>) {
        let snapshot = self.roster.load();
        let backends = snapshot.members().iter().map(|member| &member.backend);
        (backends.filter(|backend| backend.weight > 0).map(|backend| Backend::clone(backend)).collect(), HashMap::new())
    }
}

/// Each address once: state is kept by address.
pub(crate) fn distinct(found: BTreeSet<Backend>) -> Vec<Backend> {
    let mut seen = HashSet::new();
    found.into_iter().filter(|backend| seen.insert(backend.addr.clone())).collect()
}

/// What a source met, in few words: what it says of it, and what is at the bottom of it.
fn why(error: &pingora_core::Error) -> String {
    let kind = error.etype.as_str();
    let context = error.context.as_ref().map(|context| context.as_str());
    let cause = error.cause.as_ref().map(|_| error.root_cause().to_string());
    let told: Vec<String> = context.map(str::to_owned).into_iter().chain(cause).collect();
    if told.is_empty() { kind.to_owned() } else { format!("{kind}: {}", told.join(": ")) }
}

#[async_trait]
impl ServiceDiscovery for Tracked {
    async fn discover(&self) -> Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let known = self.roster.load().members().len();
        let answer = self.source.discover().await;
        self.roster.set_discovery_failure(answer.as_ref().err().map(|e| why(e)));
        let found = match answer {
            Ok((found, _)) => distinct(found),
            // Nothing to go on with: to be tried again soon.
            Err(e) if known == 0 => {
                warn!("pool {}: discovery failed: {}", self.pool, why(&e));
                return Err(e);
            }
            Err(e) => {
                warn!("pool {}: discovery failed, {known} backends stay as they are: {}", self.pool, why(&e));
                return Ok(self.answer());
            }
        };
        if found.is_empty() && known > 0 {
            warn!("pool {}: discovery found nobody, {known} backends stay as they are", self.pool);
        } else if self.roster.set_members(&found) {
            info!("pool {}: {} backends", self.pool, found.len());
        }
        Ok(self.answer())
    }
}
