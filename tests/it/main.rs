//! The integration tests: the real binary, real clients and real backends over real sockets.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod support;

mod admin;
mod algorithms;
mod balancing;
mod bounded_load;
mod cancelled;
mod connections;
mod errors;
mod examples;
mod fail_open;
mod failover;
mod framing;
mod hashing;
mod headers;
mod health;
mod large;
mod layering;
mod lifecycle;
mod load;
mod logs;
mod max_in_flight;
mod priority;
mod proxying;
mod queue;
mod robustness;
mod slow_start;
mod sticky;
mod timeouts;
mod tls;
mod upgrade;
mod wrong_input;
mod zone;
