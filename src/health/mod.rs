//! What a health check asks a backend: implementations of pingora's `HealthCheck`, one file each.
//!
//! A check says only whether one probe passed. When to probe, for how long at the most, and what a row of results means is
//! decided for all of them alike, in [`prober`](crate::pool) and [`Health`](crate::backend::Health).

mod dial;
mod grpc;
mod http;
mod session;
mod tcp;

use std::sync::Arc;

use pingora_load_balancing::health_check::HealthCheck;

pub use dial::Trust;
pub use grpc::GrpcCheck;
pub use http::HttpCheck;
pub(crate) use session::AGENT;
pub use tcp::TcpCheck;

/// The answer of the gRPC health service, for whoever feeds it nonsense.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(data: &[u8]) {
    let _ = grpc::serving(data);
}

/// A check that our code can hold without knowing which.
pub type Check = Arc<dyn HealthCheck + Send + Sync>;
