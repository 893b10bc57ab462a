//! The state of a process as JSON: what the admin address writes and what `evenkeel status` reads.

use serde::{Deserialize, Serialize};

use crate::backend::Member;
use crate::pool::Pool;
use crate::proxy::Generation;

/// A pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolView {
    /// Its name.
    pub name: String,
    /// How many of its backends may be picked now.
    pub admitted: usize,
    /// Requests that wait for room.
    #[serde(default)]
    pub waiting: usize,
    /// In the order of their addresses.
    pub backends: Vec<BackendView>,
}

/// A backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendView {
    /// Its address.
    pub address: String,
    /// Its share of the traffic.
    pub weight: usize,
    /// Lower numbers are asked first.
    #[serde(default)]
    pub priority: u8,
    /// Where it stands.
    #[serde(default)]
    pub zone: Option<String>,
    /// `healthy`, `unhealthy`, `unprobed` or `draining`.
    pub state: String,
    /// Why it is not healthy: what the last failed probe met.
    pub reason: Option<String>,
    /// Whether it may be picked now.
    pub admitted: bool,
    /// Attempts under way.
    pub in_flight: u32,
    /// How many there may be.
    #[serde(default)]
    pub max_in_flight: Option<u32>,
    /// Its average time to answer, where the algorithm measures it.
    #[serde(default)]
    pub latency_seconds: Option<f64>,
    /// Attempts that were answered below 500.
    pub succeeded: u64,
    /// Attempts that were answered with 500 and above, or not at all.
    pub failed: u64,
    /// Attempts that the client gave up.
    pub cancelled: u64,
    /// Probes that passed.
    pub probes_passed: u64,
    /// Probes that failed.
    pub probes_failed: u64,
    /// How long ago the last probe ended.
    pub last_probe_age_seconds: Option<f64>,
}

/// Every pool of a generation.
pub(super) fn pools(generation: &Generation) -> Vec<PoolView> {
    generation.pools.iter().map(|pool| pool_view(pool)).collect()
}

fn pool_view(pool: &Pool) -> PoolView {
    let snapshot = pool.roster().load();
    PoolView {
        name: pool.name().to_owned(),
        // Of those that picks draw from: a backend whose state has just changed is not among them before the roster is renewed.
        admitted: snapshot.candidates().filter(|candidate| candidate.state.admitted()).count(),
        waiting: pool.roster().pool().waiting(),
        backends: snapshot.members().iter().map(backend_view).collect(),
    }
}

fn backend_view(member: &Member) -> BackendView {
    let (_, reason) = member.state.health();
    let counts = member.state.counts();
    BackendView {
        address: member.state.label().to_owned(),
        weight: member.backend.weight,
        priority: member.attributes.priority,
        zone: member.attributes.zone.as_deref().map(str::to_owned),
        state: member.state.standing().to_owned(),
        reason,
        admitted: member.state.admitted(),
        in_flight: member.state.in_flight(),
        max_in_flight: member.state.max_in_flight(),
        latency_seconds: member.state.latency().map(|latency| latency.as_secs_f64()),
        succeeded: counts.succeeded,
        failed: counts.failed,
        cancelled: counts.cancelled,
        probes_passed: counts.probes_passed,
        probes_failed: counts.probes_failed,
        last_probe_age_seconds: member.state.last_probe_age().map(|age| age.as_secs_f64()),
    }
}
