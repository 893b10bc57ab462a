//! The backends of one pool at one moment.

use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashTable;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_load_balancing::Backend;

use super::groups::groups;
use super::{Attributes, BackendState, Policy, clock};

/// One backend of a pool.
#[derive(Clone, Debug)]
pub struct Member {
    /// What pingora knows of it: address and weight. A weight of 0 means that it drains.
    pub backend: Arc<Backend>,
    /// What its source says beside that.
    pub attributes: Attributes,
    /// What we know of it.
    pub state: Arc<BackendState>,
}

/// One backend that may be picked, as the algorithms see it.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What pingora knows of it.
    pub backend: Arc<Backend>,
    /// What we know of it.
    pub state: Arc<BackendState>,
    /// Its share among the candidates of its group: its weight, less while it is in slow start. At least 1; only the ratios
    /// between candidates of one group mean something.
    pub weight: u64,
}

/// Candidates that are equally preferred.
#[derive(Clone, Debug)]
pub struct Group {
    /// Never empty.
    pub candidates: Box<[Candidate]>,
    /// How many units of a candidate's weight make one of a configured weight: more than 1 while somebody is in slow start.
    pub scale: u64,
    /// The configured weights of the whole pool, of the unhealthy as well. It moves only when the backends change.
    pub pool_weight: u64,
    /// Of a number drawn from 0 to 1, those below this that no group before took begin here. The last may be 1 less the
    /// error of a sum.
    pub end: f64,
}

/// The same backend, of the same weight and attributes.
impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        let same = self.backend == other.backend && self.attributes == other.attributes;
        same && Arc::ptr_eq(&self.state, &other.state)
    }
}

impl Member {
    /// Let its state know what its source says.
    pub(super) fn configure(&self) {
        self.state.configure(self.backend.weight, &self.attributes);
    }
}

/// The backends of one pool at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    members: Vec<Member>,
    groups: Vec<Group>,
    eligible: usize,
    fails_open: bool,
    ramping: bool,
    limited: bool,
    index: Index,
}

impl Snapshot {
    pub(super) fn new(members: Vec<Member>, policy: &Policy) -> Self {
        let now = clock::millis();
        let (groups, fails_open) = groups(&members, policy, now);
        Snapshot {
            groups,
            fails_open,
            eligible: members.iter().filter(|m| m.state.eligible()).count(),
            ramping: policy.slow_start.is_some() && members.iter().any(|m| m.ramping(policy, now)),
            limited: policy.max_in_flight.is_some()
                || policy.concurrency.is_some()
                || members.iter().any(|m| m.attributes.max_in_flight.is_some()),
            index: Index::new(&members),
            members,
        }
    }

    /// Every backend of the pool.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// How many are eligible.
    pub fn eligible(&self) -> usize {
        self.eligible
    }

    /// Whether health is left out of account, because there is too little of it.
    pub fn fails_open(&self) -> bool {
        self.fails_open
    }

    /// Whether the share of somebody still grows.
    pub(crate) fn ramping(&self) -> bool {
        self.ramping
    }

    /// Whether there is a bound to how many requests may be in flight.
    pub(crate) fn limited(&self) -> bool {
        self.limited
    }

    /// Whom to pick among, the preferred group first. None of them is left out for want of room: that changes too quickly.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The candidates of all groups, the preferred first.
    pub fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.groups.iter().flat_map(|group| &group.candidates)
    }

    /// The backend at this address.
    #[inline]
    pub fn find(&self, address: &SocketAddr) -> Option<&Arc<BackendState>> {
        self.index.find(address)
    }

    /// Whether a backend that was a candidate when this was made is one still.
    #[inline]
    pub(crate) fn accepts(&self, state: &BackendState) -> bool {
        state.eligible() || self.fails_open && !state.draining()
    }
}

/// States by address. The table holds numbers, which keeps it in the cache for thousands of backends: a look-up by address is
/// part of every pick.
#[derive(Debug, Default)]
struct Index {
    states: Box<[Arc<BackendState>]>,
    numbers: HashTable<u32>,
    hasher: RandomState,
}

impl Index {
    fn new(members: &[Member]) -> Self {
        let states: Box<[_]> = members.iter().map(|member| Arc::clone(&member.state)).collect();
        let hasher = RandomState::new();
        let hash = |number: &u32| hasher.hash_one(states[*number as usize].address());
        let mut numbers = HashTable::with_capacity(states.len());
        for number in 0..states.len() as u32 {
            numbers.insert_unique(hash(&number), number, hash);
        }
        Index { states, numbers, hasher }
    }

    #[inline]
    fn find(&self, address: &SocketAddr) -> Option<&Arc<BackendState>> {
        let is = |number: &u32| self.states.get(*number as usize).is_some_and(|state| state.address() == address);
        let number = self.numbers.find(self.hasher.hash_one(address), is)?;
        self.states.get(*number as usize)
    }
}
