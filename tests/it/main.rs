//! The integration tests: the real binary, real clients and real backends over real sockets.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod support;

mod balancing;
mod errors;
mod failover;
mod health;
mod large;
mod layering;
mod proxying;
mod wrong_input;
