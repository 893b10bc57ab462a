//! What has a backend drain, since when, and how long its sticky clients still reach it.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use tokio::sync::Notify;

use super::{BackendState, Health, clock};

/// What has a backend drain: an operator, or a weight of 0 from its source. Each begins and ends by itself. Since when, in
/// [`clock`](super::clock) milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Causes {
    operator: Option<u64>,
    weight: Option<u64>,
}

/// For how long each of its causes has had a backend drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drain {
    /// An operator asked for it.
    pub operator: Option<Duration>,
    /// Its source gives it the weight 0.
    pub weight: Option<Duration>,
}

impl Causes {
    /// An operator wants it to drain, or does not any more. Says whether that is news.
    pub(super) fn set_operator(&mut self, drains: bool, now: u64) -> bool {
        set(&mut self.operator, drains, now)
    }

    /// Its source gives it the weight 0, or another. Says whether that is news.
    pub(super) fn set_weight(&mut self, zero: bool, now: u64) -> bool {
        set(&mut self.weight, zero, now)
    }

    /// Since when an operator wants it to drain.
    pub(super) fn operator(self) -> Option<u64> {
        self.operator
    }

    /// Since when it drains, whatever the cause.
    pub(super) fn since(self) -> Option<u64> {
        self.operator.into_iter().chain(self.weight).min()
    }

    /// For how long; `None` if it does not drain.
    pub(super) fn at(self, now: u64) -> Option<Drain> {
        self.since()?;
        let age = |since: u64| Duration::from_millis(now.saturating_sub(since));
        Some(Drain { operator: self.operator.map(age), weight: self.weight.map(age) })
    }
}

/// What goes on keeps its beginning: to drain again what drains already gives no new grace.
fn set(since: &mut Option<u64>, on: bool, now: u64) -> bool {
    let before = *since;
    *since = on.then(|| before.unwrap_or(now));
    before.is_some() != on
}

/// How long the clients that are bound to a backend which drains since `since` still reach it; `None` if no longer.
pub(super) fn grace_left(since: u64, now: u64, grace: Duration) -> Option<Duration> {
    let left = grace.saturating_sub(Duration::from_millis(now.saturating_sub(since)));
    (!left.is_zero()).then_some(left)
}

impl BackendState {
    /// Whether it takes no new work, and finishes what it has. Whoever has begun an attempt looks once more: either it sees here
    /// that draining has begun in between, or who waits for the end of the work sees the attempt in flight.
    #[inline]
    pub fn draining(&self) -> bool {
        self.draining.load(SeqCst)
    }

    /// What has it drain, and for how long; `None` if it does not.
    pub fn drain(&self) -> Option<Drain> {
        self.record().drain.at(clock::millis())
    }

    /// How long a client that is bound to it still reaches it: so long after it began to drain, and while it is well; `None` if
    /// no longer, and if it does not drain.
    pub fn grace_left(&self, grace: Duration) -> Option<Duration> {
        if !self.draining() || !self.well.load(Relaxed) {
            return None;
        }
        grace_left(self.draining_since.load(Relaxed), clock::millis(), grace)
    }

    /// Have it drain because an operator says so, until an operator says otherwise. Says whether that is news; the caller then
    /// refreshes the [`Roster`](super::Roster).
    pub(crate) fn begin_drain(&self) -> bool {
        let mut record = self.record();
        let news = record.drain.set_operator(true, clock::millis());
        self.decide(&record);
        news
    }

    /// Take an operator's drain back. Its health begins anew, for it may be another program by now, and is probed at once. Says
    /// whether that is news; the caller then refreshes the [`Roster`](super::Roster).
    pub(super) fn end_drain(&self, initial: Health) -> bool {
        let mut record = self.record();
        let news = record.drain.set_operator(false, clock::millis());
        if news {
            self.begin_anew(&mut record, initial);
            if let Some(prober) = &*self.prober.load() {
                prober.notify_one();
            }
        }
        news
    }

    /// Whether what is under way on it is to be cut off: it was removed, and has had its time.
    #[inline]
    pub fn cut(&self) -> bool {
        self.cut.load(Relaxed)
    }

    /// Cut off what is under way on it. Says whether anything is.
    pub(crate) fn cut_off(&self) -> bool {
        !self.cut.swap(true, Relaxed) && self.in_flight() > 0
    }

    /// Whom to wake if a probe of it should not wait for its turn.
    pub(crate) fn probed_by(&self, prober: &Arc<Notify>) {
        self.prober.store(Some(Arc::clone(prober)));
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(
            (causes.since(), causes.at(1_000)),
            (Some(300), Some(Drain { operator: None, weight: millis(700) }))
        );
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
            state.eligible_since.store(long_ago, Relaxed);
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
}
