//! The state of a process as JSON: what the admin address writes and what `evenkeel status` reads.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backend::{Drain, Group, Member, Snapshot};
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
    /// Attempts that there may be before it gets slow, where `concurrency` is on.
    #[serde(default)]
    pub concurrency_limit: Option<usize>,
    /// Open connections to its backends, where `max_connections` limits them, and that limit.
    #[serde(default)]
    pub connections: Option<usize>,
    /// See `connections`.
    #[serde(default)]
    pub max_connections: Option<usize>,
    /// Why it is not known who is there now: what the source of its backends met when it was asked last. Those that are known stay.
    #[serde(default)]
    pub discovery_failure: Option<String>,
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
    /// `healthy`, `unhealthy`, `unprobed`, `ejected` or `draining`.
    pub state: String,
    /// Why it drains; then why it is not healthy, what the last failed probe met; or what it was ejected for, and for how long yet.
    pub reason: Option<String>,
    /// Set while it drains.
    #[serde(default)]
    pub drain: Option<DrainView>,
    /// Whether it may be picked now.
    pub admitted: bool,
    /// For how many requests those of its priority and zone are asked first, 0 to 1. 0: only for what others cannot take.
    #[serde(default)]
    pub preferred: f64,
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
    /// Probes that began.
    #[serde(default)]
    pub probes_sent: u64,
    /// How often it was ejected.
    #[serde(default)]
    pub ejections: u64,
    /// Probes that passed.
    pub probes_passed: u64,
    /// Probes that failed.
    pub probes_failed: u64,
    /// How long ago the last probe ended.
    pub last_probe_age_seconds: Option<f64>,
    /// Whether none has ended in three intervals although there is a health check.
    #[serde(default)]
    pub probes_overdue: bool,
}

/// What has a backend drain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DrainView {
    /// For how long an operator has had it drain.
    pub operator_seconds: Option<f64>,
    /// For how long its source has given it the weight 0.
    pub weight_seconds: Option<f64>,
    /// How long sticky clients still reach it.
    pub grace_left_seconds: Option<f64>,
}

/// Every pool of a generation.
pub(crate) fn pools(generation: &Generation) -> Vec<PoolView> {
    generation.pools.iter().map(|pool| pool_view(pool)).collect()
}

fn pool_view(pool: &Pool) -> PoolView {
    let snapshot = pool.roster().load();
    let shares = shares(&snapshot);
    PoolView {
        name: pool.name().to_owned(),
        // Of those that picks draw from: a backend whose state has just changed is not among them before the roster is renewed.
        admitted: snapshot.candidates().filter(|candidate| candidate.state.admitted()).count(),
        waiting: pool.roster().pool().waiting(),
        concurrency_limit: pool.roster().pool().concurrency().map(|found| found.limit()),
        connections: pool.connections(),
        max_connections: pool.max_connections(),
        discovery_failure: pool.roster().discovery_failure().map(|why| why.as_ref().clone()),
        backends: snapshot.members().iter().map(|member| view(pool, member, share(member, &shares))).collect(),
    }
}

pub(super) fn backend_view(pool: &Pool, member: &Member) -> BackendView {
    view(pool, member, share(member, &shares(&pool.roster().load())))
}

fn view(pool: &Pool, member: &Member, preferred: f64) -> BackendView {
    // Ahead of what is in flight: with no grace left and nothing in flight after that, nothing will be.
    let (drain, grace_left) = (member.state.drain(), pool.grace_left(&member.state));
    let in_flight = member.state.in_flight();
    let counts = member.state.counts();
    BackendView {
        address: member.state.label().to_owned(),
        weight: member.backend.weight,
        priority: member.attributes.priority,
        zone: member.attributes.zone.as_deref().map(str::to_owned),
        state: member.state.standing().to_owned(),
        reason: reason(drain, member.state.reason()),
        drain: drain.map(|drain| drain_view(drain, grace_left)),
        admitted: member.state.admitted(),
        preferred,
        in_flight,
        max_in_flight: member.state.max_in_flight(),
        latency_seconds: member.state.latency().map(|latency| latency.as_secs_f64()),
        succeeded: counts.succeeded,
        failed: counts.failed,
        cancelled: counts.cancelled,
        probes_sent: counts.probes_sent,
        ejections: member.state.ejections().map(|(_, count)| count).sum(),
        probes_passed: counts.probes_passed,
        probes_failed: counts.probes_failed,
        last_probe_age_seconds: member.state.last_probe_age().map(|age| age.as_secs_f64()),
        probes_overdue: pool.probes_overdue(&member.state).unwrap_or_default(),
    }
}

/// For how many requests each candidate's group is asked first, by the address of the candidate.
fn shares(snapshot: &Snapshot) -> HashMap<&str, f64> {
    let begins = std::iter::once(0.0).chain(snapshot.groups().iter().map(|group| group.end));
    let groups = snapshot.groups().iter().zip(begins);
    let share = |(group, begin): (_, f64)| {
        let group: &Group = group;
        let share = (group.end - begin).max(0.0);
        group.candidates.iter().map(move |candidate| (candidate.state.label(), share))
    };
    groups.flat_map(share).collect()
}

fn share(member: &Member, shares: &HashMap<&str, f64>) -> f64 {
    shares.get(member.state.label()).copied().unwrap_or_default()
}

fn drain_view(drain: Drain, grace_left: Option<Duration>) -> DrainView {
    let seconds = |age: Option<Duration>| age.map(|age| age.as_secs_f64());
    DrainView {
        operator_seconds: seconds(drain.operator),
        weight_seconds: seconds(drain.weight),
        grace_left_seconds: seconds(grace_left),
    }
}

/// Why it drains, then what its last failed probe met.
fn reason(drain: Option<Drain>, health: Option<String>) -> Option<String> {
    let drain = drain.unwrap_or_default();
    let ago = |age: Duration| humantime::format_duration(Duration::from_secs(age.as_secs())).to_string();
    let operator = drain.operator.map(|age| format!("drained by an operator {} ago", ago(age)));
    let weight = drain.weight.map(|_| "weight 0".to_owned());
    let reasons: Vec<String> = operator.into_iter().chain(weight).chain(health).collect();
    (!reasons.is_empty()).then(|| reasons.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_given() {
        let seconds = |n: u64| Some(Duration::from_millis(n * 1000 + 700));
        let drain = |operator, weight| Some(Drain { operator, weight });
        let dead = || Some("refused".to_owned());
        for (drain, health, expected) in [
            (None, None, None),
            (None, dead(), Some("refused")),
            (drain(seconds(12), None), None, Some("drained by an operator 12s ago")),
            (drain(None, seconds(5)), None, Some("weight 0")),
            (drain(seconds(75), seconds(5)), dead(), Some("drained by an operator 1m 15s ago, weight 0, refused")),
        ] {
            assert_eq!(reason(drain, health).as_deref(), expected);
        }
    }
}
