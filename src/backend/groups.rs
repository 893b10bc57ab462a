//! Who is preferred: backends in groups by priority and zone, and the share of the requests that each group gets.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Candidate, Group, Member, Policy, ramp};
use crate::config::{Percent, WhenUnavailable};

/// The groups to pick from, the preferred first, and whether health was left out of account.
pub(super) fn groups(members: &[Member], policy: &Policy, now: u32) -> (Vec<Group>, bool) {
    let tiers = tiers(members, policy);
    let eligible = tiers.iter().any(|tier| tier.eligible() > 0.0);
    let panic = !eligible || tiers.iter().all(|tier| tier.eligible() < policy.panic_threshold.fraction());
    let may_panic = eligible || policy.when_unavailable == WhenUnavailable::TryAny;
    if panic && !may_panic {
        return (Vec::new(), false);
    }
    let shares = split(tiers.iter().map(|tier| (if panic { 1.0 } else { tier.eligible() }, policy.overflow)));
    let mut groups = Vec::new();
    for (tier, share) in tiers.iter().zip(shares) {
        for (zone, within) in tier.zones(policy, panic) {
            groups.push((zone, share * within));
        }
    }
    (finish(groups, members, policy, now, panic), panic)
}

/// The backends of one priority: those of our zone, and the others.
#[derive(Default)]
struct Tier<'a> {
    ours: Zone<'a>,
    others: Zone<'a>,
}

#[derive(Default)]
struct Zone<'a> {
    members: Vec<&'a Member>,
    weight: f64,
    eligible: f64,
}

fn tiers<'a>(members: &'a [Member], policy: &Policy) -> Vec<Tier<'a>> {
    let ours = policy.zone.as_ref().map(|zone| zone.name.as_str());
    let mut tiers: BTreeMap<u8, Tier<'a>> = BTreeMap::new();
    for member in members.iter().filter(|member| member.backend.weight > 0) {
        let tier = tiers.entry(member.attributes.priority).or_default();
        let preferred = ours.is_some() && member.attributes.zone.as_deref() == ours;
        let zone = if preferred { &mut tier.ours } else { &mut tier.others };
        zone.members.push(member);
        zone.weight += member.backend.weight as f64;
        if member.state.eligible() {
            zone.eligible += member.backend.weight as f64;
        }
    }
    tiers.into_values().collect()
}

impl<'a> Tier<'a> {
    /// The part of its weight that is eligible.
    fn eligible(&self) -> f64 {
        (self.ours.eligible + self.others.eligible) / (self.ours.weight + self.others.weight)
    }

    /// Its zones, ours first, with the share of the tier that each gets.
    fn zones(&self, policy: &Policy, panic: bool) -> Vec<(&Zone<'a>, f64)> {
        let minimum = policy.zone.as_ref().map_or(Percent::default(), |zone| zone.minimum);
        let zones: Vec<_> = [(&self.ours, minimum), (&self.others, Percent::default())].into();
        let zones: Vec<_> = zones.into_iter().filter(|(zone, _)| zone.weight > 0.0).collect();
        let shares = split(zones.iter().map(|(zone, minimum)| {
            let eligible = if panic { 1.0 } else { zone.eligible / zone.weight };
            (eligible, *minimum)
        }));
        zones.into_iter().map(|(zone, _)| zone).zip(shares).collect()
    }
}

/// Split all requests: each in turn takes, of what those before it left, all if it has its minimum, else its part of that.
/// What the last one leaves, too, goes to everybody in proportion.
fn split(parts: impl Iterator<Item = (f64, Percent)>) -> Vec<f64> {
    let mut left = 1.0;
    let shares: Vec<f64> = parts
        .map(|(eligible, minimum)| {
            let enough = if eligible > 0.0 { (eligible / minimum.fraction()).min(1.0) } else { 0.0 };
            let taken = left * enough;
            left -= taken;
            taken
        })
        .collect();
    let taken: f64 = shares.iter().sum();
    shares.into_iter().map(|share| if taken > 0.0 { share / taken } else { 0.0 }).collect()
}

fn finish(groups: Vec<(&Zone<'_>, f64)>, members: &[Member], policy: &Policy, now: u32, panic: bool) -> Vec<Group> {
    let pool_weight = members.iter().map(|member| member.backend.weight as u64).sum();
    let ramping = policy.slow_start.is_some() && members.iter().any(|m| m.ramping(policy, now));
    let mut end = 0.0;
    let mut finished = Vec::new();
    for (zone, share) in groups {
        end += share;
        let picked = zone.members.iter().filter(|member| panic || member.state.eligible());
        let candidates: Vec<Candidate> = picked.map(|member| candidate(member, policy, now, ramping)).collect();
        if !candidates.is_empty() {
            let scale = if ramping { ramp::STEPS } else { 1 };
            finished.push(Group { candidates: candidates.into(), scale, pool_weight, end });
        }
    }
    finished
}

fn candidate(member: &Member, policy: &Policy, now: u32, ramping: bool) -> Candidate {
    let step = if ramping { member.state.ramp(now, policy.slow_start) } else { 1 };
    Candidate {
        backend: Arc::clone(&member.backend),
        state: Arc::clone(&member.state),
        weight: member.backend.weight as u64 * step,
    }
}

impl Member {
    /// Whether its share still grows.
    pub(super) fn ramping(&self, policy: &Policy, now: u32) -> bool {
        self.state.eligible() && self.state.ramp(now, policy.slow_start) < ramp::STEPS
    }
}
