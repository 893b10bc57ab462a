//! Evenkeel: a programmable HTTP load balancer on Pingora.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod backend;
pub mod config;
pub mod discovery;
pub mod health;
pub mod metrics;
pub mod pool;
pub mod reason;
pub mod selection;
