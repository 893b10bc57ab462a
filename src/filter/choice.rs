//! What filters say of the choice of a backend.

use pingora_core::protocols::l4::socket::SocketAddr;

use crate::backend::BackendState;
use crate::pool::{Pick, Pool};

/// What filters say of the choice of a backend, see [`Filter::pick`](super::Filter::pick). Whatever they say, only a backend that
/// is admitted is picked.
#[derive(Debug, Default)]
pub struct Choice {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) preferred: Option<SocketAddr>,
    pub(crate) avoided: Vec<SocketAddr>,
}

impl Choice {
    /// What is to be picked by.
    pub(crate) fn of<'a>(&'a self, pick: Pick<'a>) -> Pick<'a> {
        Pick { key: self.key.as_deref().unwrap_or(pick.key), preferred: self.preferred.as_ref(), ..pick }
    }

    /// Those to be avoided, and these; `None` if nobody is to be, or nobody else is left. That is asked ahead of picking: a pick that
    /// fails would take a round of everybody's turns with it, so that the next went to the same one each time.
    pub(crate) fn avoided_in(&self, pool: &Pool, tried: &[SocketAddr]) -> Option<Vec<SocketAddr>> {
        let all = (!self.avoided.is_empty()).then(|| [&self.avoided[..], tried].concat())?;
        pool.has_other_than(&all).then_some(all)
    }

    /// Hash this in place of the pool's `key`, where the pool's algorithm hashes. An empty one is none.
    pub fn hash_by(&mut self, key: impl Into<Vec<u8>>) {
        self.key = Some(key.into());
    }

    /// Take this backend if it is one of the pool, admitted, and has not failed this request. It goes before the sticky cookie.
    pub fn prefer(&mut self, backend: &BackendState) {
        self.preferred = Some(backend.address().clone());
    }

    /// Take this backend only if there is no other.
    pub fn avoid(&mut self, backend: &BackendState) {
        self.avoided.push(backend.address().clone());
    }
}
