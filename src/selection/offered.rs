//! The state of the backend that was offered last, handed past pingora.
//!
//! Pingora's `select_with` shows the pool a copy of what an iterator yields, and the copy cannot carry the state: what is in
//! its `ext` would be copied deep, with an allocation for each offer. To find the state again by its address costs as much as
//! the rest of a pick, and among thousands of backends more. So an iterator of ours leaves it here, on the way that one
//! thread takes from the offer to the pool's decision.

use std::cell::Cell;
use std::sync::Arc;

use pingora_core::protocols::l4::socket::SocketAddr;

use crate::backend::BackendState;

thread_local!(static OFFERED: Cell<Option<Arc<BackendState>>> = const { Cell::new(None) });

/// Leave the state of what is offered.
#[inline]
pub(super) fn offer(state: &Arc<BackendState>) {
    OFFERED.set(Some(Arc::clone(state)));
}

/// Take the state of what was offered, if the offer was one of ours and has this address.
#[inline]
pub(crate) fn take(address: &SocketAddr) -> Option<Arc<BackendState>> {
    OFFERED.take().filter(|state| state.address() == address)
}
