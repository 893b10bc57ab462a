use super::super::latency::{Averaging, Fading};
use super::super::{Failure, Health, Lease, Outcome, Thresholds};
use super::*;
use crate::config::Decay;

fn backends(written: &[(&str, usize)]) -> Vec<Backend> {
    written.iter().map(|(address, weight)| Backend::new_with_weight(address, *weight).unwrap()).collect()
}

fn state(roster: &Roster, address: &str) -> Arc<BackendState> {
    Arc::clone(roster.load().find(&address.parse().unwrap()).unwrap())
}

/// A roster of two whose first has a request in flight, a latency and a failed probe behind it.
fn lived_in() -> (Arc<Roster>, Lease) {
    let roster = Roster::new(Policy { initial: Health::UP, ..Policy::default() });
    roster.pool().measure(Averaging { fading: Fading::over(Decay::default()), peak: true });
    assert!(roster.set_members(&backends(&[("10.0.0.1:80", 1), ("10.0.0.2:80", 1)])));
    let first = state(&roster, "10.0.0.1:80");
    let mut lease = Lease::begin(Arc::clone(&first)).unwrap();
    lease.report(Outcome::Succeeded, Duration::from_millis(7));
    first.observe(Err("refused".to_owned()), Thresholds { rise: 1, fall: 3 });
    (roster, lease)
}

#[test]
fn another_weight_or_answer_keeps_everything() {
    let (roster, lease) = lived_in();
    roster.set_members(&backends(&[("10.0.0.1:80", 9), ("10.0.0.3:80", 1)]));
    let first = state(&roster, "10.0.0.1:80");
    assert!(Arc::ptr_eq(&first, lease.backend()));
    assert_eq!(first.health().0, Health::Healthy { failures: 1 });
    assert_eq!((first.in_flight(), first.latency()), (1, Some(Duration::from_millis(7))));
    assert_eq!(roster.load().members()[0].backend.weight, 9);
}

#[test]
fn who_comes_back_within_minutes_is_known_but_not_trusted() {
    let (roster, lease) = lived_in();
    roster.set_members(&backends(&[("10.0.0.2:80", 1)]));
    assert!(roster.load().find(lease.backend().address()).is_none());
    roster.set_members(&backends(&[("10.0.0.1:80", 1), ("10.0.0.2:80", 1)]));
    let first = state(&roster, "10.0.0.1:80");
    assert_eq!((first.in_flight(), first.latency()), (1, Some(Duration::from_millis(7))));
    assert_eq!(first.health().0, Health::UP, "its health begins anew");
}

#[test]
fn who_comes_back_starts_slowly() {
    let slow_start = Some(Duration::from_secs(60));
    let roster = Roster::new(Policy { initial: Health::UP, slow_start, ..Policy::default() });
    let both = backends(&[("10.0.0.1:80", 1), ("10.0.0.2:80", 1)]);
    let weights = |roster: &Roster| roster.load().candidates().map(|c| c.weight).collect::<Vec<_>>();
    roster.set_members(&both);
    let long_ago = u64::wrapping_sub(super::super::clock::millis(), 120_000);
    for member in roster.load().members() {
        member.state.rest.eligible_since.store(long_ago, std::sync::atomic::Ordering::Relaxed);
    }
    roster.refresh();
    assert_eq!(weights(&roster), [1, 1]);
    roster.set_members(&both[1..]);
    roster.set_members(&both);
    assert_eq!(weights(&roster), [1, 20]);
}

#[test]
fn a_weight_of_0_drains() {
    let (roster, lease) = lived_in();
    roster.set_members(&backends(&[("10.0.0.1:80", 0), ("10.0.0.2:80", 1)]));
    let first = state(&roster, "10.0.0.1:80");
    assert_eq!((first.standing(), first.admitted(), first.in_flight()), ("draining", false, 1));
    assert_eq!(roster.load().candidates().count(), 1);
    roster.set_members(&backends(&[("10.0.0.1:80", 0), ("10.0.0.2:80", 0)]));
    assert_eq!(roster.load().candidates().count(), 0, "nobody is left, and nothing panics");
    roster.set_members(&backends(&[("10.0.0.1:80", 2)]));
    assert_eq!((first.standing(), first.admitted()), ("healthy", true));
    drop(lease);
}

#[test]
fn the_same_answer_is_no_change_but_other_attributes_are() {
    let (roster, _lease) = lived_in();
    let mut same = backends(&[("10.0.0.1:80", 1), ("10.0.0.2:80", 1)]);
    assert!(!roster.set_members(&same));
    same[1].ext.insert(Attributes { max_in_flight: Some(1), ..Attributes::default() });
    assert!(roster.set_members(&same));
    let second = state(&roster, "10.0.0.2:80");
    let lease = Lease::begin(Arc::clone(&second)).unwrap();
    assert!(!second.admitted() && second.eligible() && Lease::begin(Arc::clone(&second)).is_none());
    drop(lease);
    assert!(second.admitted());
}

#[test]
fn what_a_failure_and_a_newcomer_count_as() {
    let (roster, _lease) = lived_in();
    let (first, second) = (state(&roster, "10.0.0.1:80"), state(&roster, "10.0.0.2:80"));
    let expected = |state: &BackendState| {
        let micros = state.expected_micros(super::super::wrapped_millis(), Fading::over(Decay::default()));
        (micros / 1e3).round() as u32
    };
    assert_eq!((expected(&first), expected(&second)), (7, 7), "nothing is known of the second: it is typical");
    let mut lease = Lease::begin(Arc::clone(&second)).unwrap();
    lease.report(Outcome::Failed(Failure::Broken), Duration::ZERO);
    assert_eq!(expected(&second), 70, "it failed at once, and counts as slow");
    assert_eq!(roster.pool().typical(), Some(Duration::from_millis(7)), "failures are not typical");
    drop(Lease::begin(Arc::clone(&first)).unwrap());
    assert_eq!((expected(&first), first.counts().cancelled), (7, 1), "a client that leaves blames nobody");
}

/// What an algorithm of a library user goes by.
#[test]
fn what_is_expected_of_a_backend_is_its_latency_or_what_is_typical() {
    let roster = Roster::new(Policy::default());
    roster.set_members(&backends(&[("10.0.0.1:80", 1), ("10.0.0.2:80", 1)]));
    let [known, unknown] = ["10.0.0.1:80", "10.0.0.2:80"].map(|address| state(&roster, address));
    let answer = || Lease::begin(Arc::clone(&known)).unwrap().report(Outcome::Succeeded, Duration::from_millis(80));
    answer();
    assert_eq!(known.latency(), None, "nobody wants to know");
    let decay = Decay(Duration::from_secs(3600));
    roster.pool().measure_latency(decay);
    answer();
    for state in [known, unknown] {
        let off = state.expected(decay).abs_diff(Duration::from_millis(80));
        assert!(off < Duration::from_millis(1), "{:?}", state.expected(decay));
    }
}
