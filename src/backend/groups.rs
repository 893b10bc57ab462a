//! Who is preferred: backends in groups by priority and zone, and the share of the requests that each group gets.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Candidate, Group, Member, Policy, ramp};
use crate::config::{Percent, WhenUnavailable};

/// The groups to pick from, the preferred first, and whether health was left out of account.
pub(super) fn groups(members: &[Member], policy: &Policy, now: u64) -> (Vec<Group>, bool) {
    let tiers = tiers(members, policy);
    let Some(trust) = Trust::of(&tiers, policy) else {
        return (Vec::new(), false);
    };
    let shares = split(tiers.iter().map(|tier| (trust.part(tier.eligible()), policy.overflow)));
    let mut groups = Vec::new();
    for (tier, share) in tiers.iter().zip(shares) {
        for (zone, within) in tier.zones(policy, trust) {
            groups.push((zone, share * within));
        }
    }
    let fails_open = trust != Trust::Whole;
    let mut groups = finish(groups, members, policy, now, fails_open);
    if fails_open {
        groups = ejected_last(groups);
    }
    (groups, fails_open)
}

/// How far health is believed.
#[derive(Clone, Copy, PartialEq)]
enum Trust {
    /// It is.
    Whole,
    /// Not for a single backend; but a priority or a zone without anybody healthy is dead.
    OfGroups,
    /// Not at all.
    None,
}

impl Trust {
    /// `None` if nobody may be picked.
    fn of(tiers: &[Tier<'_>], policy: &Policy) -> Option<Self> {
        let threshold = policy.panic_threshold.fraction();
        if tiers.iter().all(|tier| tier.eligible() == 0.0) {
            let opens = policy.when_unavailable == WhenUnavailable::TryAny || threshold > 0.0;
            return opens.then_some(Trust::None);
        }
        let panic = tiers.iter().all(|tier| tier.eligible() < threshold);
        Some(if panic { Trust::OfGroups } else { Trust::Whole })
    }

    /// The part of a group that is taken for eligible.
    fn part(self, eligible: f64) -> f64 {
        match self {
            Trust::Whole => eligible,
            Trust::OfGroups if eligible == 0.0 => 0.0,
            Trust::OfGroups | Trust::None => 1.0,
        }
    }
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
    for member in members.iter().filter(|member| member.backend.weight > 0 && !member.state.draining()) {
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
    fn zones(&self, policy: &Policy, trust: Trust) -> Vec<(&Zone<'a>, f64)> {
        let minimum = policy.zone.as_ref().map_or(Percent::default(), |zone| zone.minimum);
        let zones: Vec<_> = [(&self.ours, minimum), (&self.others, Percent::default())].into();
        let zones: Vec<_> = zones.into_iter().filter(|(zone, _)| zone.weight > 0.0).collect();
        let shares = split(zones.iter().map(|(zone, minimum)| (trust.part(zone.eligible / zone.weight), *minimum)));
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

fn finish(
    groups: Vec<(&Zone<'_>, f64)>,
    members: &[Member],
    policy: &Policy,
    now: u64,
    fails_open: bool,
) -> Vec<Group> {
    let pool_weight = members.iter().map(|member| member.backend.weight as u64).sum();
    let ramping = policy.slow_start.is_some() && members.iter().any(|m| m.ramping(policy, now));
    let mut end = 0.0;
    let mut finished = Vec::new();
    for (zone, share) in groups {
        end += share;
        let picked = zone.members.iter().filter(|member| fails_open || member.state.eligible());
        let candidates: Vec<Candidate> = picked.map(|member| candidate(member, policy, now, ramping)).collect();
        if !candidates.is_empty() {
            let scale = if ramping { ramp::STEPS } else { 1 };
            finished.push(Group { candidates: candidates.into(), scale, pool_weight, end });
        }
    }
    finished
}

/// Where nobody is asked about their health, those whom live traffic showed to be bad come after all others.
fn ejected_last(groups: Vec<Group>) -> Vec<Group> {
    let mut ordered = Vec::new();
    let mut last = Vec::new();
    for group in groups {
        let (ejected, others): (Vec<_>, Vec<_>) =
            group.candidates.into_iter().partition(|c| c.state.ejected() && !c.state.eligible());
        if !ejected.is_empty() {
            last.push(Group { candidates: ejected.into(), ..group });
        }
        if !others.is_empty() {
            ordered.push(Group { candidates: others.into(), ..group });
        }
    }
    let end = ordered.last().map_or(1.0, |group| group.end);
    last.iter_mut().for_each(|group| group.end = end);
    ordered.extend(last);
    ordered
}

fn candidate(member: &Member, policy: &Policy, now: u64, ramping: bool) -> Candidate {
    let step = if ramping { member.state.ramp(now, policy.slow_start) } else { 1 };
    Candidate {
        backend: Arc::clone(&member.backend),
        state: Arc::clone(&member.state),
        weight: member.backend.weight as u64 * step,
    }
}

impl Member {
    /// Whether its share still grows.
    pub(super) fn ramping(&self, policy: &Policy, now: u64) -> bool {
        self.state.eligible() && self.state.ramp(now, policy.slow_start) < ramp::STEPS
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pingora_load_balancing::{Backend, Extensions};

    use super::super::{Attributes, Health, Roster, Thresholds};
    use super::*;
    use crate::config;

    /// Backends written `priority zone weight`, `-` before those that are dead; what each group gets, in hundredths, and who
    /// is in it by number.
    fn shares(backends: &[&str], policy: Policy) -> Vec<(i64, Vec<usize>)> {
        let roster = Roster::new(policy);
        let written: Vec<Vec<&str>> = backends.iter().map(|b| b.trim_start_matches('-').split(' ').collect()).collect();
        let backend = |(number, words): (usize, &Vec<&str>)| {
            let mut ext = Extensions::new();
            let (priority, zone) = (words[0].parse().unwrap(), Some(words[1].into()));
            ext.insert(Attributes { zone, priority, ..Attributes::default() });
            Backend { addr: format!("10.0.0.{number}:80").parse().unwrap(), weight: words[2].parse().unwrap(), ext }
        };
        roster.set_members(&written.iter().enumerate().map(backend).collect::<Vec<_>>());
        for (member, written) in roster.load().members().iter().zip(backends) {
            if written.starts_with('-') {
                member.state.observe(Err("dead".into()), Thresholds { rise: 1, fall: 1 });
            }
        }
        roster.refresh();
        let snapshot = roster.load();
        let number = |c: &Candidate| snapshot.members().iter().position(|m| m.backend == c.backend).unwrap();
        let mut before = 0.0;
        let mut group = |group: &Group| {
            let share = ((group.end - before) * 100.0).round() as i64;
            before = group.end;
            (share, group.candidates.iter().map(number).collect())
        };
        snapshot.groups().iter().map(&mut group).collect()
    }

    fn overflow(percent: u16) -> Policy {
        Policy { overflow: Percent(percent), ..Policy::default() }
    }

    fn zone(minimum: u16) -> Policy {
        Policy { zone: Some(config::Zone { name: "a".into(), minimum: Percent(minimum) }), ..Policy::default() }
    }

    #[test]
    fn without_policies_there_is_one_group() {
        assert_eq!(shares(&["0 a 1", "-0 b 1", "0 c 5"], Policy::default()), [(100, vec![0, 2])]);
        assert_eq!(shares(&["-0 a 1"], Policy::default()), []);
        assert_eq!(shares(&["0 a 0", "0 a 1"], Policy::default()), [(100, vec![1])], "weight 0 drains");
    }

    #[test]
    fn a_backup_waits_until_nobody_else_is_left() {
        assert_eq!(shares(&["0 a 1", "0 a 1", "1 a 1"], Policy::default()), [(100, vec![0, 1]), (0, vec![2])]);
        assert_eq!(shares(&["-0 a 1", "0 a 1", "1 a 1"], Policy::default()), [(100, vec![1]), (0, vec![2])]);
        assert_eq!(shares(&["-0 a 1", "-0 a 1", "1 a 1"], Policy::default()), [(100, vec![2])]);
    }

    #[test]
    fn what_a_priority_misses_overflows_in_proportion() {
        let half = ["0 a 1", "-0 a 1", "1 a 1", "2 a 1"];
        assert_eq!(shares(&half, overflow(70)), [(71, vec![0]), (29, vec![2]), (0, vec![3])]);
        assert_eq!(shares(&half, overflow(50)), [(100, vec![0]), (0, vec![2]), (0, vec![3])]);
        // 50 of 70 parts, then of the rest 50 of 70 again, then all; and all that is left when everybody has lost some.
        let thirds = ["0 a 1", "-0 a 1", "1 a 1", "-1 a 1"];
        assert_eq!(shares(&thirds, overflow(70)), [(78, vec![0]), (22, vec![2])]);
        assert_eq!(shares(&["0 a 3", "-0 a 1", "1 a 1"], overflow(100)), [(75, vec![0]), (25, vec![2])], "by weight");
    }

    #[test]
    fn a_zone_keeps_its_requests_while_it_can() {
        let four = ["0 a 1", "0 a 1", "0 b 1", "0 c 1"];
        assert_eq!(shares(&four, zone(70)), [(100, vec![0, 1]), (0, vec![2, 3])]);
        let spilling = ["0 a 1", "-0 a 1", "0 b 1", "0 c 1"];
        assert_eq!(shares(&spilling, zone(100)), [(50, vec![0]), (50, vec![2, 3])]);
        assert_eq!(shares(&["-0 a 1", "-0 a 1", "0 b 1"], zone(70)), [(100, vec![2])]);
        assert_eq!(shares(&["0 b 1", "0 c 1"], zone(70)), [(100, vec![0, 1])], "nobody is in our zone");
        let tiers = ["0 a 1", "0 b 1", "1 a 1"];
        assert_eq!(shares(&tiers, zone(70)), [(100, vec![0]), (0, vec![1]), (0, vec![2])], "priority before zone");
    }

    #[test]
    fn too_little_health_is_not_believed() {
        let policy = || Policy { panic_threshold: Percent(50), ..Policy::default() };
        assert_eq!(shares(&["0 a 1", "-0 a 1"], policy()), [(100, vec![0])]);
        assert_eq!(shares(&["0 a 1", "-0 a 1", "-0 a 1", "0 a 0"], policy()), [(100, vec![0, 1, 2])]);
        assert_eq!(shares(&["-0 a 1", "1 a 1"], policy()), [(100, vec![1])], "the backup can carry it");
        let dead = ["-0 a 1", "-0 a 1", "1 a 1", "-1 a 1", "-1 a 1"];
        assert_eq!(shares(&dead, policy()), [(0, vec![0, 1]), (100, vec![2, 3, 4])], "a dead priority stays dead");
        assert_eq!(shares(&["-0 a 1", "-0 a 1"], policy()), [(100, vec![0, 1])], "none is below the threshold, too");
        let open = Policy { when_unavailable: WhenUnavailable::TryAny, ..Policy::default() };
        assert_eq!(shares(&["-0 a 1", "-1 a 1", "0 a 0"], open), [(100, vec![0]), (0, vec![1])]);
    }

    #[test]
    fn a_newcomer_begins_with_a_twentieth() {
        let policy = Policy { slow_start: Some(Duration::from_secs(60)), initial: Health::UP, ..Policy::default() };
        let roster = Roster::new(policy);
        let backends = ["10.0.0.1:80", "10.0.0.2:80"].map(|address| Backend::new_with_weight(address, 3).unwrap());
        roster.set_members(&backends);
        let weights = |roster: &Roster| -> Vec<u64> { roster.load().candidates().map(|c| c.weight).collect() };
        assert_eq!(weights(&roster), [3, 3], "everybody is new: the shares are the same");
        let state = Arc::clone(&roster.load().members()[0].state);
        state
            .rest
            .eligible_since
            .store(super::super::clock::millis().wrapping_sub(30_000), std::sync::atomic::Ordering::Relaxed);
        roster.refresh();
        assert_eq!(weights(&roster), [30, 3], "half of the way and a twentieth of it");
        assert_eq!(roster.load().groups()[0].scale, 20);
    }
}
