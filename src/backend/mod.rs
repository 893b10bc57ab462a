//! What is known of one backend, and the lease that counts the work on it.
//!
//! State belongs to the backend, not to the configuration: it is keyed by (pool, address), and outlives a change of weight
//! and a new answer from discovery. Here is also the one predicate that says whether a backend may be picked now,
//! [`BackendState::admitted`]; no algorithm asks anything else. Its slow half, [`BackendState::eligible`], decides who is
//! among the [candidates](Snapshot::candidates); its quick half, whether there is room, is asked as a [`Lease`] begins.

mod attributes;
mod cause;
mod clock;
mod concurrency;
mod counts;
mod drain;
mod ejection;
mod gate;
mod groups;
mod health;
mod histogram;
mod label;
mod latency;
mod lease;
mod outliers;
mod passive;
mod policy;
mod pool_state;
mod probes;
mod ramp;
mod roster;
mod row;
mod saved;
mod snapshot;
mod spare;
mod state;
mod watch;

pub use attributes::Attributes;
pub use cause::Cause;
pub(crate) use cause::Change as EjectionChange;
pub(crate) use clock::{millis as clock_millis, millis_at as clock_millis_at, wrapped_millis};
pub use concurrency::Concurrency;
pub(crate) use concurrency::{Change as SheddingChange, Notice, TICK};
pub use counts::Counts;
pub use drain::Drain;
pub use health::{Change, Health, Thresholds};
pub(crate) use histogram::Bins;
pub(crate) use label::label;
pub(crate) use latency::{Averaging, Fading};
pub use lease::{Failure, Lease, Outcome};
pub(crate) use outliers::{Outliers, Reading};
pub use policy::Policy;
pub use pool_state::PoolState;
pub(crate) use ramp::STEPS as RAMP_STEPS;
pub use roster::Roster;
pub use saved::{SavedBackend, SavedEjection, SavedLatency};
pub use snapshot::{Candidate, Group, Member, Snapshot};
pub use state::BackendState;
