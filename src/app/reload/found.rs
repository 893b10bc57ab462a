//! Which backends a pool has, or would have.

use std::collections::BTreeSet;
use std::time::Duration;

use pingora_load_balancing::Backend;
use tokio::time::timeout;

use crate::backend::{Attributes, label};
use crate::discovery::{Source, distinct};
use crate::pool::Pool;

/// How long a source may take: a name server that does not answer is given up by then.
const LIMIT: Duration = Duration::from_secs(10);

/// A backend, as its source has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) address: String,
    pub(super) weight: usize,
    pub(super) attributes: Attributes,
}

/// What a source was found to have, and the source.
pub(super) struct Discovered {
    pub(super) source: Source,
    pub(super) backends: BTreeSet<Backend>,
    /// Why nobody was found.
    pub(super) failed: Option<String>,
}

impl Discovered {
    pub(super) fn found(&self) -> Vec<Found> {
        let found = |backend: Backend| Found {
            address: label(&backend.addr),
            weight: backend.weight,
            attributes: backend.ext.get::<Attributes>().cloned().unwrap_or_default(),
        };
        distinct(self.backends.clone()).into_iter().map(found).collect()
    }
}

/// Ask a source.
pub(super) async fn discover(source: Source) -> Discovered {
    let (backends, failed) = match timeout(LIMIT, source.discover()).await {
        Ok(Ok((backends, _))) if backends.is_empty() => (backends, Some("its source knows none".to_owned())),
        Ok(Ok((backends, _))) => (backends, None),
        Ok(Err(e)) => (BTreeSet::new(), Some(e.to_string())),
        Err(_) => (BTreeSet::new(), Some(format!("its source has not answered within {LIMIT:?}"))),
    };
    Discovered { source, backends, failed }
}

/// The backends that a pool has.
pub(super) fn members(pool: &Pool) -> Vec<Found> {
    let snapshot = pool.roster().load();
    let found = |member: &crate::backend::Member| Found {
        address: member.state.label().to_owned(),
        weight: member.backend.weight,
        attributes: member.attributes.clone(),
    };
    snapshot.members().iter().map(found).collect()
}
