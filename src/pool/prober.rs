//! Probing: one check at one rhythm, for all pools that have it, each backend in a task of its own, so that one that hangs
//! delays no other.
//!
//! Pools that hold the very same check, with the same intervals and timeout, share the probes of the addresses that they have in
//! common: there is one connection for each interval, and each pool takes in the result by its own `rise` and `fall`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_load_balancing::Backend;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::probe::{Outcome, probe, take_in};
use super::{Pool, rhythm};
use crate::backend::{Health, Member, Thresholds, label};
use crate::health::Check;

/// How many may be probed at once that are not probed at their own moments: all for the first time, and those that are late
/// because the whole process was held up. The first probes decide when a start is over, but need not come in one burst.
const AT_ONCE: usize = 64;

/// Who begins no later than this is at its moment.
const ON_TIME: Duration = Duration::from_millis(100);

/// When to probe, and for how long at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timing {
    pub(super) interval: Duration,
    pub(super) unhealthy_interval: Duration,
    pub(super) timeout: Duration,
}

impl Timing {
    /// From one probe to the next of a backend in this state.
    pub(super) fn interval(&self, health: Health) -> Duration {
        match health {
            Health::Unhealthy { .. } => self.unhealthy_interval,
            Health::Healthy { .. } | Health::Unprobed => self.interval,
        }
    }
}

/// What a pool has probed, and how.
pub(super) struct Checking {
    pub(super) check: Check,
    pub(super) timing: Timing,
    pub(super) thresholds: Thresholds,
}

/// The probers of all pools.
#[derive(Default)]
pub(super) struct Probers(Mutex<Vec<Arc<Prober>>>);

impl Probers {
    /// The one that does what `pool` wants; `None` if that is nothing.
    pub(super) fn of(&self, pool: &Pool) -> Option<Arc<Prober>> {
        let Checking { check, timing, .. } = pool.check.as_ref()?;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those whose pools have all gone.
        all.retain(|prober| Arc::strong_count(prober) > 1);
        let same = |prober: &&Arc<Prober>| Arc::ptr_eq(&prober.check, check) && prober.timing == *timing;
        if let Some(prober) = all.iter().find(same) {
            return Some(Arc::clone(prober));
        }
        let prober = Arc::new(Prober {
            name: pool.name.clone(),
            check: Arc::clone(check),
            timing: *timing,
            start: Instant::now(),
            line: Semaphore::new(AT_ONCE),
            targets: Mutex::default(),
        });
        all.push(Arc::clone(&prober));
        Some(prober)
    }
}

/// One check at one rhythm.
pub(super) struct Prober {
    /// Of the first pool that has it.
    name: String,
    check: Check,
    timing: Timing,
    start: Instant,
    /// Where those wait that do not begin at their moments.
    line: Semaphore,
    targets: Mutex<HashMap<SocketAddr, Target>>,
}

/// An address that is probed, and for whom.
struct Target {
    subscribers: Vec<Subscriber>,
    last: Option<Outcome>,
    /// Calls for a probe now.
    wake: Arc<Notify>,
    task: AbortHandle,
}

/// Dropped with the last of the first results of a pool.
pub(super) type FirstRound = Arc<watch::Sender<()>>;

#[derive(Clone)]
struct Subscriber {
    pool: Arc<Pool>,
    member: Member,
    first_round: Option<FirstRound>,
}

impl Subscriber {
    async fn take_in(self, outcome: Outcome) {
        take_in(&self.pool, &self.member, outcome).await;
    }
}

/// A backend of a pool that is probed until this is dropped.
pub(super) struct Subscription {
    prober: Arc<Prober>,
    pool: Arc<Pool>,
    address: SocketAddr,
}

impl Subscription {
    /// The backend is another one by now, of another weight perhaps.
    pub(super) fn update(&self, member: &Member) {
        if let Some(target) = self.prober.targets().get_mut(&self.address) {
            let ours = |subscriber: &&mut Subscriber| Arc::ptr_eq(&subscriber.pool, &self.pool);
            target.subscribers.iter_mut().filter(ours).for_each(|subscriber| subscriber.member = member.clone());
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut targets = self.prober.targets();
        let Some(target) = targets.get_mut(&self.address) else { return };
        target.subscribers.retain(|subscriber| !Arc::ptr_eq(&subscriber.pool, &self.pool));
        if target.subscribers.is_empty() {
            target.task.abort();
            targets.remove(&self.address);
        }
    }
}

impl Prober {
    fn targets(&self) -> MutexGuard<'_, HashMap<SocketAddr, Target>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Probe a backend of a pool from now on. If another pool's probes of the same address go on already, their last result is
    /// this one's first.
    pub(super) fn join(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        member: &Member,
        first_round: Option<FirstRound>,
    ) -> Subscription {
        let address = member.backend.addr.clone();
        let subscriber = Subscriber { pool: Arc::clone(pool), member: member.clone(), first_round };
        let mut targets = self.targets();
        let target = targets.entry(address.clone()).or_insert_with(|| {
            let wake = Arc::<Notify>::default();
            let task = tokio::spawn(probe_for_ever(Arc::clone(self), address.clone(), Arc::clone(&wake)));
            Target { subscribers: Vec::new(), last: None, wake, task: task.abort_handle() }
        });
        member.state.probed_by(&target.wake);
        let same = |known: &&mut Subscriber| Arc::ptr_eq(&known.member.state, &member.state);
        if let Some(predecessor) = target.subscribers.iter_mut().find(same) {
            // A reload has put this pool in another's place. Nothing is probed anew, and no result counts twice.
            let waits = target.last.is_none();
            *predecessor = Subscriber { first_round: subscriber.first_round.filter(|_| waits), ..subscriber };
            return Subscription { prober: Arc::clone(self), pool: Arc::clone(pool), address };
        }
        match &target.last {
            Some(last) => {
                member.state.probe_begins(Duration::ZERO);
                tokio::spawn(subscriber.clone().take_in(last.clone()));
                target.subscribers.push(Subscriber { first_round: None, ..subscriber });
            }
            None => target.subscribers.push(subscriber),
        }
        Subscription { prober: Arc::clone(self), pool: Arc::clone(pool), address }
    }

    /// A probe of `address` begins, so late; of whom, or `None` if nobody wants it any more.
    fn begin(&self, address: &SocketAddr, late: Duration) -> Option<Arc<Backend>> {
        let targets = self.targets();
        let subscribers = &targets.get(address)?.subscribers;
        subscribers.iter().for_each(|subscriber| subscriber.member.state.probe_begins(late));
        subscribers.first().map(|subscriber| Arc::clone(&subscriber.member.backend))
    }

    /// A probe of `address` has ended. Says for how long there need not be another.
    async fn end(&self, address: &SocketAddr, outcome: Outcome) -> Duration {
        let subscribers: Vec<_> = match self.targets().get_mut(address) {
            Some(target) => {
                target.last = Some(outcome.clone());
                let once = |subscriber: &mut Subscriber| Subscriber {
                    first_round: subscriber.first_round.take(),
                    ..subscriber.clone()
                };
                target.subscribers.iter_mut().map(once).collect()
            }
            None => Vec::new(),
        };
        let mut interval = None;
        for subscriber in subscribers {
            let state = Arc::clone(&subscriber.member.state);
            subscriber.take_in(outcome.clone()).await;
            let wanted = self.timing.interval(state.health().0);
            interval = Some(interval.map_or(wanted, |least: Duration| least.min(wanted)));
        }
        interval.unwrap_or(self.timing.interval)
    }
}

/// Probe an address until this task is aborted.
async fn probe_for_ever(prober: Arc<Prober>, address: SocketAddr, wake: Arc<Notify>) {
    let phase = rhythm::phase(&prober.name, &label(&address));
    let mut due = Instant::now();
    let mut first = true;
    loop {
        tokio::select! {
            () = sleep_until(due) => {}
            () = wake.notified() => due = Instant::now(),
        }
        let in_line = first || due.elapsed() > ON_TIME;
        let turn = if in_line { prober.line.acquire().await.ok() } else { None };
        let Some(backend) = prober.begin(&address, due.elapsed()) else { return };
        let outcome = probe(&prober.check, &backend, prober.timing.timeout).await;
        drop(turn);
        let interval = prober.end(&address, outcome).await;
        due = prober.start + rhythm::next(phase, interval, prober.start.elapsed());
        first = false;
    }
}
