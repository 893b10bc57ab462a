//! The backends of one pool: who is there, who is admitted, found by address.
//!
//! Discovery says who is there ([`Roster::set_members`]), health says who is admitted ([`Roster::refresh`]). Either way a
//! new [`Snapshot`] is built to the side and swapped in, and whoever derives something from it, like the schedule of a round
//! robin, is told before that. So a pick finds everything done.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ahash::RandomState;
use arc_swap::{ArcSwap, Guard};
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_load_balancing::Backend;

use super::{BackendState, Health};

/// The backends of one pool.
pub struct Roster {
    snapshot: ArcSwap<Snapshot>,
    /// Changes are made one at a time; picks never wait for them.
    change: Mutex<Vec<Subscriber>>,
    /// The health of a backend that has never been seen before.
    initial: Health,
}

type Subscriber = Box<dyn Fn(&Snapshot) + Send + Sync>;

/// One backend, as the algorithms see it.
#[derive(Clone, Debug)]
pub struct Member {
    /// What pingora knows of it: address and weight, 1 or more.
    pub backend: Backend,
    /// What we know of it.
    pub state: Arc<BackendState>,
}

/// The backends of one pool at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    members: Vec<Member>,
    admitted: Vec<Member>,
    by_address: HashMap<SocketAddr, Arc<BackendState>, RandomState>,
}

impl Roster {
    /// An empty roster whose backends will begin as `initial`.
    pub fn new(initial: Health) -> Arc<Self> {
        Arc::new(Roster { snapshot: ArcSwap::default(), change: Mutex::default(), initial })
    }

    /// The backends now.
    #[inline]
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// Call `derive` with the present snapshot, and with every later one before it is swapped in.
    pub fn subscribe(&self, derive: impl Fn(&Snapshot) + Send + Sync + 'static) {
        let mut subscribers = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        derive(&self.snapshot.load());
        subscribers.push(Box::new(derive));
    }

    /// Make these the backends. One whose address is here already keeps its state.
    pub fn set_members<'a>(&self, backends: impl IntoIterator<Item = &'a Backend>) {
        let subscribers = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.snapshot.load();
        let members = backends
            .into_iter()
            .map(|backend| {
                let state = match old.find(&backend.addr) {
                    Some(state) => Arc::clone(state),
                    None => Arc::new(BackendState::new(backend.addr.clone(), self.initial)),
                };
                Member { backend: backend.clone(), state }
            })
            .collect();
        self.publish(&subscribers, members);
    }

    /// Take in that backends were admitted, or are not any more.
    pub fn refresh(&self) {
        let subscribers = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let members = self.snapshot.load().members.clone();
        self.publish(&subscribers, members);
    }

    fn publish(&self, subscribers: &[Subscriber], members: Vec<Member>) {
        let snapshot = Snapshot::new(members);
        for derive in subscribers {
            derive(&snapshot);
        }
        self.snapshot.store(Arc::new(snapshot));
    }
}

impl Snapshot {
    fn new(members: Vec<Member>) -> Self {
        Snapshot {
            admitted: members.iter().filter(|m| m.state.admitted()).cloned().collect(),
            by_address: members.iter().map(|m| (m.backend.addr.clone(), Arc::clone(&m.state))).collect(),
            members,
        }
    }

    /// Every backend of the pool.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Those that could be picked when this snapshot was made.
    pub fn admitted(&self) -> &[Member] {
        &self.admitted
    }

    /// Whom to pick among: the admitted ones or, with none of them, everybody, for a pool that rather tries than rejects.
    pub fn candidates(&self) -> &[Member] {
        if self.admitted.is_empty() { &self.members } else { &self.admitted }
    }

    /// The backend at this address.
    #[inline]
    pub fn find(&self, address: &SocketAddr) -> Option<&Arc<BackendState>> {
        self.by_address.get(address)
    }
}
