//! Evenkeel: a programmable HTTP load balancer on Pingora.

pub mod config;
