//! The integration tests: the real binary, real clients and real backends over real sockets.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod support;

mod admin;
mod algorithms;
mod balancing;
mod bounded_load;
mod cancelled;
mod connections;
mod deadline;
mod drain;
mod drain_api;
mod ejection;
mod errors;
mod examples;
mod fail_open;
mod failover;
mod framing;
mod grpc_health;
mod hashing;
mod headers;
mod health;
mod hedge;
mod large;
mod layering;
mod lifecycle;
mod load;
mod logs;
mod max_connections;
mod max_in_flight;
mod origin_faults;
mod overload;
mod priority;
mod probing;
mod proxying;
mod queue;
mod retry;
mod robustness;
mod rolling_deploy;
mod slow_start;
mod sticky;
mod timeouts;
mod tls;
mod upgrade;
mod wrong_input;
mod zone;
