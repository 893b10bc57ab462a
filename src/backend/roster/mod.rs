//! The backends of one pool: who is there, who is eligible, found by address.
//!
//! Discovery says who is there ([`Roster::set_members`]), health says who is eligible ([`Roster::refresh`]). Either way a
//! new [`Snapshot`] is built to the side and swapped in, and whoever derives something from it, like the schedule of a round
//! robin, is told before that. So a pick finds everything done.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_load_balancing::{Backend, Extensions};

use super::spare::readmit_if_needed;
use super::{Attributes, BackendState, Member, Policy, PoolState, SavedBackend, Snapshot};
use crate::config::Ejection;

/// How long the state of a backend is kept that has gone: name servers that give a part of a long list in each answer bring
/// the same addresses back within minutes.
const REMEMBERED: Duration = Duration::from_secs(600);
/// The same if an operator has it drain: who took it out does not expect it to come back by itself. But not for ever, or
/// addresses that never come again would add up.
const REMEMBERED_DRAINED: Duration = Duration::from_secs(24 * 3600);

/// The backends of one pool.
pub struct Roster {
    snapshot: ArcSwap<Snapshot>,
    /// Changes are made one at a time; picks never wait for them.
    change: Mutex<Change>,
    pool: Arc<PoolState>,
    /// Why the source said nothing when it was asked last.
    discovery_failure: ArcSwapOption<String>,
}

struct Change {
    policy: Policy,
    subscribers: Vec<Subscriber>,
    departed: Vec<(Instant, Arc<BackendState>)>,
    /// Who is known from a predecessor, and has not come yet.
    expected: HashMap<String, SavedBackend>,
    /// Whose states are to be gone on with, until the first backends are known.
    inherited: Option<Inherited>,
}

struct Inherited {
    snapshot: Arc<Snapshot>,
    checked: bool,
}

type Subscriber = Box<dyn Fn(&Arc<Snapshot>) + Send + Sync>;

impl Roster {
    /// An empty roster.
    pub fn new(policy: Policy) -> Arc<Self> {
        let pool = PoolState::new(policy.max_in_flight, policy.concurrency);
        let change =
            Change { policy, subscribers: Vec::new(), departed: Vec::new(), inherited: None, expected: HashMap::new() };
        Arc::new(Roster::with(change, Arc::new(pool)))
    }

    /// An empty roster that takes this one's place under another policy: a backend that both have keeps its state, as does the
    /// pool. This one goes on to serve what has begun with it.
    /// Without a health check (`checked` false) nobody would ever say that a sick one is well, and so all are.
    pub(crate) fn successor(&self, policy: Policy, checked: bool) -> Arc<Self> {
        let change = self.change();
        self.pool.configure(policy.max_in_flight, policy.concurrency);
        let next = Change {
            policy,
            subscribers: Vec::new(),
            departed: change.departed.clone(),
            expected: change.expected.clone(),
            inherited: Some(Inherited { snapshot: self.snapshot.load_full(), checked }),
        };
        Arc::new(Roster::with(next, Arc::clone(&self.pool)))
    }

    fn with(change: Change, pool: Arc<PoolState>) -> Self {
        Roster {
            snapshot: ArcSwap::default(),
            change: Mutex::new(change),
            pool,
            discovery_failure: ArcSwapOption::default(),
        }
    }

    /// Why it is not known who is there now: what the source met when it was asked last, if that was no answer.
    pub fn discovery_failure(&self) -> Option<Arc<String>> {
        self.discovery_failure.load_full()
    }

    /// Note how asking the source has ended.
    pub(crate) fn set_discovery_failure(&self, why: Option<String>) {
        if why.is_some() {
            self.pool.count_discovery_failure();
        }
        // Mostly there is nothing to change.
        if why.is_some() || self.discovery_failure.load().is_some() {
            self.discovery_failure.store(why.map(Arc::new));
        }
    }

    /// The backends now.
    #[inline]
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// The same, to hold on to.
    pub(crate) fn load_full(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// What the backends have in common.
    pub fn pool(&self) -> &Arc<PoolState> {
        &self.pool
    }

    /// Call `derive` with the present snapshot, and with every later one before it is swapped in.
    pub fn subscribe(&self, derive: impl Fn(&Arc<Snapshot>) + Send + Sync + 'static) {
        let mut change = self.change();
        derive(&self.snapshot.load());
        change.subscribers.push(Box::new(derive));
    }

    /// Make these the backends. One whose address is here already, or was until lately, keeps its state. The
    /// [`Attributes`] in a backend's `ext` are taken out of it. Says whether anything has changed.
    pub fn set_members<'a>(&self, backends: impl IntoIterator<Item = &'a Backend>) -> bool {
        let mut change = self.change();
        let inherited = change.inherited.take();
        let old = inherited.as_ref().map_or_else(|| self.snapshot.load_full(), |from| Arc::clone(&from.snapshot));
        let members: Vec<Member> =
            backends.into_iter().map(|backend| self.member(backend, &old, &mut change)).collect();
        match inherited {
            Some(from) if !from.checked => members.iter().for_each(|member| member.state.trust()),
            None if members == old.members() => return false,
            _ => {}
        }
        members.iter().for_each(Member::configure);
        let snapshot = change.publish(&self.snapshot, members);
        change.remember_departed(&old, &snapshot);
        self.pool.call();
        true
    }

    /// Take in that backends became eligible, or are not any more.
    pub fn refresh(&self) {
        let change = self.change();
        let members = self.snapshot.load().members().to_vec();
        change.publish(&self.snapshot, members);
        self.pool.call();
    }

    /// The backend whose address is this text, even if it has left and is remembered; it then has the weight 0.
    pub fn find_known(&self, label: &str) -> Option<Member> {
        let change = self.change();
        if let Some(member) = self.snapshot.load().members().iter().find(|member| member.state.label() == label) {
            return Some(member.clone());
        }
        let (_, state) = change.departed.iter().find(|(_, state)| state.label() == label)?;
        let backend = Backend { addr: state.address().clone(), weight: 0, ext: Extensions::new() };
        let state = Arc::clone(state);
        Some(Member { backend: Arc::new(backend), attributes: Attributes::default(), state })
    }

    /// What a successor should know of everybody who is here, or is drained and away.
    pub(crate) fn save(&self, rules: &Ejection) -> Vec<SavedBackend> {
        let change = self.change();
        let snapshot = self.load();
        let here = snapshot.members().iter().map(|member| &member.state);
        let away = change.departed.iter().map(|(_, state)| state);
        let drained = away.filter(|state| state.drain().is_some_and(|drain| drain.operator.is_some()));
        here.chain(drained).map(|state| state.save(rules)).collect()
    }

    /// Know of these backends, when they come, what a predecessor knew.
    pub(crate) fn expect(&self, saved: Vec<SavedBackend>) {
        self.change().expected.extend(saved.into_iter().map(|saved| (saved.address.clone(), saved)));
    }

    /// Take an operator's drain of one of ours back; its health begins anew. Says whether it had one; the caller then refreshes.
    pub(crate) fn end_drain(&self, state: &BackendState) -> bool {
        let initial = self.change().policy.initial;
        state.end_drain(initial)
    }

    /// Cut off what is still under way on those that left so long ago; says on whom that was.
    pub(crate) fn cut_departed(&self, after: Duration) -> Vec<Arc<BackendState>> {
        let now = Instant::now();
        let departed = self.change().departed.clone();
        let due = departed.into_iter().filter(|(since, _)| now - *since >= after).map(|(_, state)| state);
        due.filter(|state| state.cut_off()).collect()
    }

    fn member(&self, backend: &Backend, old: &Snapshot, change: &mut Change) -> Member {
        let (backend, attributes) = without_attributes(backend);
        let state = match (old.find(&backend.addr), change.find_departed(&backend.addr)) {
            (Some(state), _) => Arc::clone(state),
            (None, Some(state)) => {
                state.forget_health(change.policy.initial);
                state.rest.cut.store(false, Relaxed);
                Arc::clone(state)
            }
            (None, None) => {
                let state = BackendState::new(backend.addr.clone(), change.policy.initial, &self.pool);
                if let Some(saved) = change.expected.remove(state.label()) {
                    state.restore(&saved);
                }
                Arc::new(state)
            }
        };
        Member { backend: Arc::new(backend), attributes, state }
    }

    fn change(&self) -> MutexGuard<'_, Change> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Change {
    fn publish(&self, place: &ArcSwap<Snapshot>, members: Vec<Member>) -> Arc<Snapshot> {
        readmit_if_needed(&members);
        let snapshot = Arc::new(Snapshot::new(members, &self.policy));
        for derive in &self.subscribers {
            derive(&snapshot);
        }
        place.store(Arc::clone(&snapshot));
        snapshot
    }

    fn find_departed(&self, address: &SocketAddr) -> Option<&Arc<BackendState>> {
        self.departed.iter().map(|(_, state)| state).find(|state| state.address() == address)
    }

    fn remember_departed(&mut self, old: &Snapshot, new: &Snapshot) {
        let now = Instant::now();
        self.departed.retain(|(since, state)| {
            let drained = state.drain().is_some_and(|drain| drain.operator.is_some());
            remembered(now - *since, drained) && new.find(state.address()).is_none()
        });
        let gone = old.members().iter().filter(|member| new.find(&member.backend.addr).is_none());
        self.departed.extend(gone.map(|member| (now, Arc::clone(&member.state))));
    }
}

/// Whether one that has been away for so long is still known.
pub(super) fn remembered(away: Duration, drained_by_operator: bool) -> bool {
    away < if drained_by_operator { REMEMBERED_DRAINED } else { REMEMBERED }
}

/// A backend, and the attributes that its source wrote into it. What is left of an `ext` that held nothing else would cost
/// every copy of the backend, and so every pick, an allocation.
fn without_attributes(backend: &Backend) -> (Backend, Attributes) {
    let mut backend = backend.clone();
    let attributes = backend.ext.remove::<Attributes>().unwrap_or_default();
    if backend.ext.is_empty() {
        backend.ext = Extensions::new();
    }
    (backend, attributes)
}

#[cfg(test)]
mod tests;
