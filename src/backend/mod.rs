//! What is known of one backend, and the lease that counts the work on it.
//!
//! State belongs to the backend, not to the configuration: it is keyed by (pool, address), and outlives a change of weight
//! and a new answer from discovery. Here is also the one predicate that says whether a backend may be picked now,
//! [`BackendState::admitted`]; no algorithm asks anything else. Its slow half, [`BackendState::eligible`], decides who is
//! among the [candidates](Snapshot::candidates); its quick half, whether there is room, is asked as a [`Lease`] begins.

mod attributes;
mod clock;
mod counts;
mod groups;
mod health;
mod latency;
mod lease;
mod policy;
mod pool_state;
mod ramp;
mod roster;
mod snapshot;
mod state;

pub use attributes::Attributes;
pub(crate) use clock::wrapped_millis;
pub use counts::Counts;
pub use health::{Change, Health, Thresholds};
pub(crate) use latency::{Averaging, Fading};
pub use lease::{Lease, Outcome};
pub use policy::Policy;
pub use pool_state::PoolState;
pub(crate) use ramp::STEPS as RAMP_STEPS;
pub use roster::Roster;
pub use snapshot::{Candidate, Group, Member, Snapshot};
pub use state::BackendState;
pub(crate) use state::label;
