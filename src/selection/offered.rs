//! The state of the backend that was offered last, handed past pingora.
//!
//! Pingora's `select_with` shows the pool a copy of what an iterator yields, and the copy cannot carry the state: what is in
//! its `ext` would be copied deep, with an allocation for each offer. To find the state again by its address costs as much as
//! the rest of a pick, and among thousands of backends more. So an iterator of ours leaves it here, on the way that one
//! thread takes from the offer to the pool's decision.
//!
//! With it goes the address, to know whether the pool is shown what we offered: the state has one, too, but in a cache line
//! that nothing else of a pick needs. As a number, because an address that is copied whole and read in parts at once makes
//! the processor wait.

use std::cell::Cell;
use std::net;
use std::sync::Arc;

use pingora_core::protocols::l4::socket::SocketAddr;

use crate::backend::{BackendState, Candidate};

thread_local!(static OFFERED: Cell<Option<Arc<BackendState>>> = const { Cell::new(None) });
thread_local!(static NUMBER: Cell<u64> = const { Cell::new(UNNUMBERED) });

const UNNUMBERED: u64 = 0;

/// Leave the state of what is offered.
#[inline]
pub(super) fn offer(candidate: &Candidate) {
    NUMBER.set(number(&candidate.backend.addr));
    OFFERED.set(Some(Arc::clone(&candidate.state)));
}

/// Take the state of what was offered, if the offer was one of ours and has this address.
#[inline]
pub(crate) fn take(address: &SocketAddr) -> Option<Arc<BackendState>> {
    let state = OFFERED.take()?;
    let same = match (number(address), NUMBER.get()) {
        (UNNUMBERED, UNNUMBERED) => state.address() == address,
        (shown, offered) => shown == offered,
    };
    same.then_some(state)
}

/// One for each address of IPv4.
#[inline]
fn number(address: &SocketAddr) -> u64 {
    match address {
        SocketAddr::Inet(net::SocketAddr::V4(v4)) => {
            1 << 48 | u64::from(v4.ip().to_bits()) << 16 | u64::from(v4.port())
        }
        _ => UNNUMBERED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart() {
        let v4 = ["0.0.0.0:0", "0.0.0.0:1", "0.0.0.1:0", "255.255.255.255:65535", "10.0.0.1:80", "10.0.0.1:81"];
        let numbers: std::collections::BTreeSet<u64> = v4.iter().map(|text| number(&text.parse().unwrap())).collect();
        assert!(numbers.len() == v4.len() && !numbers.contains(&UNNUMBERED));
        assert!(["[::1]:80", "unix:/run/app.sock"].iter().all(|text| number(&text.parse().unwrap()) == UNNUMBERED));
    }
}
