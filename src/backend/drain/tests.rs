use pingora_load_balancing::Backend;

use super::super::roster::remembered;
use super::super::{Cause, Lease, Policy, Roster, Thresholds};
use super::*;
use crate::config::Ejection;

fn millis(millis: u64) -> Option<Duration> {
    Some(Duration::from_millis(millis))
}

#[test]
fn each_cause_begins_and_ends_by_itself() {
    let mut causes = Causes::default();
    assert_eq!((causes.since(), causes.at(5)), (None, None));
    assert!(causes.set_operator(true, 100));
    assert!(causes.set_weight(true, 300));
    assert_eq!(causes.since(), Some(100), "from the first on");
    assert_eq!(causes.at(1_000), Some(Drain { operator: millis(900), weight: millis(700) }));
    assert!(causes.set_operator(false, 400));
    assert_eq!((causes.since(), causes.at(1_000)), (Some(300), Some(Drain { operator: None, weight: millis(700) })));
    assert!(causes.set_weight(false, 500));
    assert_eq!(causes, Causes::default());
}

#[test]
fn what_is_so_already_is_no_news_and_keeps_its_beginning() {
    let mut causes = Causes::default();
    assert!(!causes.set_operator(false, 1) && !causes.set_weight(false, 1));
    assert!(causes.set_operator(true, 100));
    assert!(!causes.set_operator(true, 200));
    assert_eq!(causes.since(), Some(100));
}

/// For every order of four changes.
#[test]
fn it_drains_while_there_is_a_cause() {
    for steps in 0..4_u32.pow(4) {
        let (mut causes, mut operator, mut weight) = (Causes::default(), false, false);
        for step in 0..4 {
            let now = u64::from(step) * 10;
            let (which, on) = (steps / 4_u32.pow(step) % 2, steps / 4_u32.pow(step) % 4 < 2);
            if which == 0 {
                operator = on;
                causes.set_operator(on, now);
            } else {
                weight = on;
                causes.set_weight(on, now);
            }
            assert_eq!(causes.since().is_some(), operator || weight, "{steps} {step}");
            let drain = causes.at(now).unwrap_or_default();
            assert_eq!((drain.operator.is_some(), drain.weight.is_some()), (operator, weight), "{steps} {step}");
        }
    }
}

#[test]
fn the_grace_ends_to_the_millisecond() {
    let left = |now| grace_left(1_000, now, Duration::from_secs(10));
    assert_eq!([left(1_000), left(6_000), left(10_999)], [millis(10_000), millis(5_000), millis(1)]);
    assert_eq!([left(11_000), left(u64::MAX)], [None, None]);
    assert_eq!(left(999), millis(10_000), "another thread's clock was a little ahead");
    assert_eq!(grace_left(1_000, 1_000, Duration::ZERO), None);
}

fn backends(written: &[(&str, usize)]) -> Vec<Backend> {
    written.iter().map(|(address, weight)| Backend::new_with_weight(address, *weight).unwrap()).collect()
}

fn state(roster: &Roster, address: &str) -> Arc<BackendState> {
    Arc::clone(roster.load().find(&address.parse().unwrap()).unwrap())
}

/// A roster of two, whose first has a request in flight.
fn busy() -> (Arc<Roster>, Lease) {
    let roster = Roster::new(Policy::default());
    roster.set_members(&backends(&[("10.0.0.1:80", 1), ("10.0.0.2:80", 1)]));
    let lease = Lease::begin(state(&roster, "10.0.0.1:80")).unwrap();
    (roster, lease)
}

fn drained(state: &BackendState) -> (bool, bool) {
    let drain = state.drain().unwrap_or_default();
    (drain.operator.is_some(), drain.weight.is_some())
}

#[test]
fn an_operators_drain_and_a_weight_of_0_do_not_lift_each_other() {
    let (roster, lease) = busy();
    let first = state(&roster, "10.0.0.1:80");
    assert!(first.begin_drain() && !first.begin_drain());
    roster.refresh();
    assert_eq!((first.standing(), first.eligible(), first.in_flight()), ("draining", false, 1));
    assert_eq!(roster.load().candidates().count(), 1);
    for (weight, causes) in [(5, (true, false)), (0, (true, true)), (1, (true, false)), (0, (true, true))] {
        roster.set_members(&backends(&[("10.0.0.1:80", weight), ("10.0.0.2:80", 1)]));
        assert_eq!((drained(&first), first.standing()), (causes, "draining"), "weight {weight}");
    }
    assert!(roster.end_drain(&first) && !roster.end_drain(&first));
    assert_eq!((drained(&first), first.standing()), ((false, true), "draining"), "undrain does not lift weight 0");
    roster.set_members(&backends(&[("10.0.0.1:80", 1), ("10.0.0.2:80", 1)]));
    assert_eq!((drained(&first), first.standing(), first.admitted()), ((false, false), "healthy", true));
    drop(lease);
}

#[test]
fn an_operators_drain_outlives_answers_probes_and_absence() {
    let (roster, _lease) = busy();
    let first = state(&roster, "10.0.0.1:80");
    first.begin_drain();
    roster.set_members(&backends(&[("10.0.0.1:80", 1), ("10.0.0.3:80", 1)]));
    first.observe(Err("away".to_owned()), Thresholds { rise: 1, fall: 1 });
    first.observe(Ok(()), Thresholds { rise: 1, fall: 1 });
    assert!(!first.admitted());
    roster.set_members(&backends(&[("10.0.0.3:80", 1)]));
    let known = roster.find_known("10.0.0.1:80").unwrap();
    assert_eq!((known.backend.weight, known.state.in_flight()), (0, 1), "who left is known, and its work");
    roster.set_members(&backends(&[("10.0.0.1:80", 1), ("10.0.0.3:80", 1)]));
    assert!(Arc::ptr_eq(&first, &state(&roster, "10.0.0.1:80")));
    assert_eq!((drained(&first), first.admitted()), ((true, false), false));
    assert!(roster.find_known("10.0.0.9:80").is_none());
    let minute = Duration::from_secs(60);
    for (away, drained, expected) in
        [(9, false, true), (10, false, false), (10, true, true), (1439, true, true), (1440, true, false)]
    {
        assert_eq!(remembered(away * minute, drained), expected, "{away} {drained}");
    }
}

#[test]
fn undrained_it_is_probed_first_and_starts_slowly() {
    let slow_start = Some(Duration::from_secs(60));
    let roster = Roster::new(Policy { initial: Health::Unprobed, slow_start, ..Policy::default() });
    roster.set_members(&backends(&[("10.0.0.1:80", 1), ("10.0.0.2:80", 1)]));
    let pass = |state: &BackendState| state.observe(Ok(()), Thresholds { rise: 1, fall: 1 });
    let (first, second) = (state(&roster, "10.0.0.1:80"), state(&roster, "10.0.0.2:80"));
    assert!(pass(&first).is_some() && pass(&second).is_some());
    let long_ago = u64::wrapping_sub(clock::millis(), 120_000);
    for state in [&first, &second] {
        state.rest.eligible_since.store(long_ago, Relaxed);
    }
    first.begin_drain();
    assert!(roster.end_drain(&first));
    assert_eq!((first.standing(), first.admitted()), ("unprobed", false), "it may be another program by now");
    pass(&first);
    roster.refresh();
    assert!(first.admitted());
    assert_eq!(roster.load().candidates().map(|c| c.weight).collect::<Vec<_>>(), [1, 20]);
    assert!(!roster.end_drain(&second), "it was not drained");
    assert_eq!(second.standing(), "healthy", "and nothing has happened to it");
}

#[test]
fn sticky_clients_reach_it_as_long_as_it_is_well_and_in_grace() {
    let (roster, _lease) = busy();
    let (first, grace) = (state(&roster, "10.0.0.1:80"), Duration::from_secs(3600));
    assert_eq!(first.grace_left(grace), None, "it does not drain");
    first.begin_drain();
    assert!(first.grace_left(grace).is_some_and(|left| left > grace / 2));
    assert_eq!(first.grace_left(Duration::ZERO), None);
    first.observe(Err("dead".to_owned()), Thresholds { rise: 1, fall: 1 });
    assert_eq!(first.grace_left(grace), None, "it is dead");
    roster.set_members(&backends(&[("10.0.0.1:80", 0), ("10.0.0.2:80", 0)]));
    assert!(state(&roster, "10.0.0.2:80").grace_left(grace).is_some(), "a weight of 0 has it, too");
}

#[test]
fn sticky_clients_do_not_reach_who_was_ejected() {
    let (roster, _lease) = busy();
    let (first, grace) = (state(&roster, "10.0.0.1:80"), Duration::from_secs(3600));
    let cause = Cause::ConnectFailures { row: 5 };
    assert!(first.eject(cause, clock::millis(), &Ejection::default()));
    first.begin_drain();
    assert_eq!((first.grace_left(grace), first.standing()), (None, "draining"));
    assert!(roster.end_drain(&first));
    assert_eq!((first.standing(), first.admitted()), ("healthy", true), "it may be another program by now");
}
