//! The integration tests: the real binary, real clients and real backends over real sockets.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

mod layering;
mod proxying;
