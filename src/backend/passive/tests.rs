//! What real leases do to a backend.

use std::sync::Arc;

use pingora_load_balancing::Backend;

use super::super::{Lease, Outcome, Policy, Roster, Thresholds};
use super::*;
use crate::config::Percent;

const ONCE: Thresholds = Thresholds { rise: 1, fall: 1 };

/// A watched roster of three, and its first backend.
fn three(policy: Policy) -> (Arc<Roster>, Arc<BackendState>) {
    let roster = Roster::new(policy);
    roster.set_members(&[1, 2, 3].map(|number| Backend::new(&format!("10.0.0.{number}:80")).unwrap()));
    roster.pool().watch.begin(Some(rules()));
    let first = Arc::clone(&roster.load().members()[0].state);
    (roster, first)
}

/// For no time: whoever is ejected may be put on trial.
fn rules() -> Rules {
    Rules { base_time: Duration::ZERO, ..Rules::default() }
}

fn lease(state: &Arc<BackendState>) -> Lease {
    Lease::begin(Arc::clone(state)).unwrap()
}

fn fail(state: &Arc<BackendState>, times: usize) {
    (0..times).for_each(|_| lease(state).report(Outcome::Failed(Failure::Timeout), Duration::ZERO));
}

fn judge(roster: &Roster) -> usize {
    let mut accused = roster.accused(&rules());
    roster.eject(&mut accused, &rules());
    roster.refresh();
    accused.len()
}

#[test]
fn out_by_five_failures_and_in_by_one_success() {
    let (roster, first) = three(Policy::default());
    fail(&first, 4);
    judge(&roster);
    assert_eq!((first.standing(), first.admitted(), first.reason()), ("healthy", true, None));
    fail(&first, 1);
    judge(&roster);
    assert_eq!((first.standing(), first.admitted(), first.eligible()), ("ejected", false, false));
    assert!(first.reason().unwrap().starts_with("5 failures in a row, the last: timeout"));
    assert_eq!(roster.load().candidates().count(), 2);
    assert!(roster.put_on_trial() && !roster.put_on_trial());
    roster.refresh();
    assert_eq!((first.standing(), first.admitted(), roster.load().candidates().count()), ("ejected", true, 3));
    let mut trial = lease(&first);
    assert!(trial.on_trial() && !first.admitted() && Lease::begin(Arc::clone(&first)).is_none());
    assert_eq!(first.in_flight(), 1, "who was refused has left nothing behind");
    trial.renew();
    assert!(!first.admitted(), "the connection was stale, and it tries on");
    trial.report(Outcome::Succeeded, Duration::ZERO);
    assert_eq!((first.standing(), first.admitted()), ("healthy", true));
    let news: Vec<_> = roster.pool().watch.news().into_iter().map(|news| news.change.to_string()).collect();
    let expected =
        ["ejected for 0us: 5 failures in a row, the last: timeout", "re-admitted after a successful request"];
    assert_eq!(news, expected);
    assert_eq!(first.ejections().map(|(_, count)| count).collect::<Vec<_>>(), [1, 0, 0, 0, 0, 0]);
}

#[test]
fn a_client_that_leaves_decides_no_trial() {
    let (roster, first) = three(Policy::default());
    fail(&first, 5);
    judge(&roster);
    roster.put_on_trial();
    drop(lease(&first));
    assert!(first.admitted() && first.ejected(), "the next one tries");
    fail(&first, 1);
    assert!(!first.eligible());
    assert_eq!(first.ejections().map(|(_, count)| count).collect::<Vec<_>>(), [1, 0, 0, 0, 0, 1]);
}

#[test]
fn what_began_before_says_nothing_after() {
    let (roster, first) = three(Policy::default());
    let mut old: Vec<Lease> = (0..9).map(|_| lease(&first)).collect();
    fail(&first, 5);
    judge(&roster);
    roster.put_on_trial();
    lease(&first).report(Outcome::Succeeded, Duration::ZERO);
    old.iter_mut().for_each(|lease| lease.report(Outcome::Failed(Failure::Timeout), Duration::ZERO));
    assert!(roster.accused(&rules()).is_empty() && first.admitted());
}

#[test]
fn one_attempt_is_one_failure() {
    let (roster, first) = three(Policy::default());
    for _ in 0..4 {
        let mut broken = lease(&first);
        broken.report(Outcome::Failed(Failure::Status), Duration::ZERO);
        broken.report(Outcome::Failed(Failure::Broken), Duration::ZERO);
    }
    assert!(roster.accused(&rules()).is_empty(), "an answer of 500 that broke off");
    let mut broken = lease(&first);
    broken.report(Outcome::Succeeded, Duration::ZERO);
    broken.report(Outcome::Failed(Failure::Broken), Duration::ZERO);
    assert_eq!(roster.accused(&rules()).len(), 1, "an answer of 200 that broke off");
}

#[test]
fn the_probes_end_an_ejection_by_failing_and_not_by_passing() {
    let (roster, first) = three(Policy::default());
    fail(&first, 5);
    judge(&roster);
    first.observe(Ok(()), ONCE);
    assert_eq!((first.standing(), first.admitted()), ("ejected", false));
    first.observe(Err("refused".to_owned()), ONCE);
    assert_eq!((first.standing(), first.reason().as_deref()), ("unhealthy", Some("refused")));
    first.observe(Ok(()), ONCE);
    assert_eq!((first.standing(), first.admitted()), ("healthy", true));
}

#[test]
fn of_three_one_can_go_and_comes_back_when_it_is_needed() {
    let (roster, first) = three(Policy::default());
    let states: Vec<_> = roster.load().members().iter().map(|member| Arc::clone(&member.state)).collect();
    states.iter().for_each(|state| fail(state, 5));
    assert_eq!(judge(&roster), 2, "are spared");
    assert!(!first.eligible());
    for state in &states[1..] {
        state.observe(Err("dead".to_owned()), ONCE);
    }
    assert!(!states.iter().any(|state| state.eligible()));
    roster.refresh();
    assert!(first.admitted() && !first.ejected());
}

#[test]
fn who_is_ejected_comes_last_where_health_is_not_believed() {
    let (roster, first) = three(Policy { panic_threshold: Percent(100), ..Policy::default() });
    fail(&first, 5);
    judge(&roster);
    let snapshot = roster.load();
    let order: Vec<_> = snapshot.candidates().map(|candidate| candidate.state.label()).collect();
    assert_eq!(order, ["10.0.0.2:80", "10.0.0.3:80", "10.0.0.1:80"]);
    let ends: Vec<_> = snapshot.groups().iter().map(|group| group.end).collect();
    assert!(snapshot.fails_open() && ends == [1.0, 1.0], "{ends:?}");
}

#[test]
fn nobody_is_blamed_while_nobody_watches() {
    let (roster, first) = three(Policy::default());
    roster.pool().watch.begin(None);
    fail(&first, 50);
    assert!(first.admitted() && roster.pool().watch.news().is_empty());
}

#[test]
fn a_trial_that_its_client_gives_up_late_is_lost() {
    let (roster, first) = three(Policy::default());
    fail(&first, 5);
    judge(&roster);
    roster.put_on_trial();
    let mut trial = lease(&first);
    trial.report(Outcome::Cancelled, Duration::from_millis(500));
    drop(trial);
    assert!(first.admitted(), "it tries on with the next");
    let mut trial = lease(&first);
    trial.report(Outcome::Cancelled, Duration::from_secs(5));
    drop(trial);
    assert_eq!((first.standing(), first.admitted()), ("ejected", false));
    assert!(first.reason().unwrap().starts_with("its trial request took 5s, more than 1s"), "{:?}", first.reason());
}
