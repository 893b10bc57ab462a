//! Evenkeel: a programmable HTTP load balancer on Pingora.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod access_log;
pub mod admin;
pub mod app;
pub mod backend;
pub mod cli;
pub mod config;
pub mod ctx;
pub mod discovery;
pub mod filter;
pub mod health;
pub mod metrics;
pub mod pool;
pub mod proxy;
pub mod reason;
pub mod route;
pub mod selection;
