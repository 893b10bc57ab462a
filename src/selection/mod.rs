//! The algorithms that pick a backend: implementations of pingora's [`BackendSelection`], one file each.
//!
//! An algorithm knows weights and what a [`BackendState`](crate::backend::BackendState) counts. It knows nothing of health,
//! retries or policies: it draws from the [candidates](crate::backend::Snapshot::candidates) and offers another one when the
//! first is refused.
//!
//! [`BackendSelection`]: pingora_load_balancing::selection::BackendSelection

#[allow(dead_code)]
mod hash;
#[allow(dead_code)]
mod maglev;
#[allow(dead_code)]
mod node;
#[allow(dead_code)]
mod rendezvous;
#[allow(dead_code)]
mod ring;
mod round_robin;
mod schedule;
#[cfg(test)]
mod testing;

pub use round_robin::{RoundRobin, Turns};
