//! The tasks that keep pools up to date, one for each pool that is served: discovery, probes, ejection, limits, slow start.
//! A reload begins those of the pools that it brings, and ends those of the pools that it replaces.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use log::error;
use pingora_core::protocols::l4::socket::SocketAddr;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use super::Pool;
use super::adapt::adapt_for_ever;
use super::observer::{cut_off_later, observe_for_ever};
use super::prober::{Prober, Probers, Subscription};

/// How long a failed first discovery may be away from its next try.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Every pool that is kept up to date. Clones are of the same.
#[derive(Clone, Default)]
pub struct Keepers(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Where the tasks run, whoever begins them.
    runtime: OnceLock<Handle>,
    probers: Probers,
    kept: Mutex<Vec<Kept>>,
}

struct Kept {
    pool: Arc<Pool>,
    nudge: Arc<Notify>,
    _task: Task,
}

/// The first round of some pools: it is over when each backend of their first discovery has been probed once.
pub struct FirstRound(Vec<watch::Receiver<()>>);

impl FirstRound {
    /// Wait for its end.
    pub async fn over(self) {
        for mut round in self.0 {
            // An error is the sender's end: that pool's first round is over.
            while round.changed().await.is_ok() {}
        }
    }
}

impl Keepers {
    /// Run on the runtime of the caller from now on.
    pub(super) fn start(&self) {
        let _ = self.0.runtime.set(Handle::current());
    }

    /// Keep these pools up to date from now on. Nothing happens before the service has started.
    pub fn keep(&self, pools: &[Arc<Pool>]) -> FirstRound {
        let Some(runtime) = self.0.runtime.get() else { return FirstRound(Vec::new()) };
        let mut kept = self.kept();
        let begin = |pool: &Arc<Pool>| {
            let (first_round, done) = watch::channel(());
            let nudge = Arc::new(Notify::new());
            let task = keep(Arc::clone(pool), self.0.probers.of(pool), first_round, Arc::clone(&nudge));
            let task = runtime.spawn(task);
            kept.push(Kept { pool: Arc::clone(pool), nudge, _task: Task(task.abort_handle()) });
            let name = pool.name().to_owned();
            runtime.spawn(async move {
                if let Err(e) = task.await
                    && e.is_panic()
                {
                    error!("pool {name} is not kept up to date any more: {e}");
                }
            });
            done
        };
        FirstRound(pools.iter().map(begin).collect())
    }

    /// End that for all pools but these. What is under way in the others goes on; the state of their backends stands still, but
    /// for what successors see of it.
    pub fn retain(&self, pools: &[Arc<Pool>]) {
        let (stay, go) = std::mem::take(&mut *self.kept())
            .into_iter()
            .partition::<Vec<_>, _>(|kept| pools.iter().any(|pool| Arc::ptr_eq(pool, &kept.pool)));
        self.kept().extend(stay);
        let succeeded = |gone: &Kept| pools.iter().any(|pool| Arc::ptr_eq(pool.roster.pool(), gone.pool.roster.pool()));
        for gone in go.iter().filter(|gone| !succeeded(gone)) {
            if let Some(runtime) = self.0.runtime.get() {
                runtime.spawn(cut_off_later(Arc::clone(&gone.pool)));
            }
        }
    }

    /// Ask the sources of all pools but these now, and not at their next turn.
    pub(crate) fn ask_again(&self, but: &[Arc<Pool>]) {
        let asked = |kept: &&Kept| !but.iter().any(|pool| Arc::ptr_eq(pool, &kept.pool));
        self.kept().iter().filter(asked).for_each(|kept| kept.nudge.notify_one());
    }

    /// End that for all of them, and leave what is under way alone.
    pub(crate) fn rest(&self) {
        self.kept().clear();
    }

    /// The pools that are kept up to date.
    pub(super) fn pools(&self) -> Vec<Arc<Pool>> {
        self.kept().iter().map(|kept| Arc::clone(&kept.pool)).collect()
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keep one pool up to date. `first_round` is dropped when each backend of the first discovery has been probed.
pub(super) async fn keep(
    pool: Arc<Pool>,
    prober: Option<Arc<Prober>>,
    first_round: watch::Sender<()>,
    nudge: Arc<Notify>,
) {
    let mut first_round = Some(first_round);
    let mut probed = Probed::default();
    let _observer = Task(tokio::spawn(observe_for_ever(Arc::clone(&pool))).abort_handle());
    let adapting = |_| Task(tokio::spawn(adapt_for_ever(Arc::clone(&pool))).abort_handle());
    let _adapting = pool.roster.pool().concurrency().map(adapting);
    let _ramp = pool.ramp.map(|every| Task(tokio::spawn(ramp_for_ever(Arc::clone(&pool), every)).abort_handle()));
    loop {
        // A failure is logged where it happens, and leaves the backends as they were.
        let discovered = pool.discover().await.is_ok();
        probed.follow(&pool, prober.as_ref(), first_round.take());
        match pool.rediscover {
            _ if !discovered => tokio::time::sleep(FIRST_RETRY).await,
            Some(every) => tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = nudge.notified() => {}
            },
            None => std::future::pending().await,
        }
    }
}

/// Move on those of a pool that are in slow start, until this task is aborted.
async fn ramp_for_ever(pool: Arc<Pool>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        if pool.roster.load().ramping() {
            pool.refresh().await;
        }
    }
}

/// A task, ended when dropped.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The backends of one pool that are probed.
#[derive(Default)]
struct Probed(HashMap<SocketAddr, Subscription>);

impl Probed {
    /// Begin to probe who has come, and stop for who has gone. `first_round` is dropped with the last first result.
    fn follow(&mut self, pool: &Arc<Pool>, prober: Option<&Arc<Prober>>, first_round: Option<watch::Sender<()>>) {
        let snapshot = pool.roster.load();
        for member in snapshot.members() {
            // Pingora takes a backend that it has not seen for alive.
            pool.balancer.mark(&member.backend, member.state.eligible());
        }
        let Some(prober) = prober else { return };
        self.0.retain(|address, _| snapshot.find(address).is_some());
        let first_round = first_round.map(Arc::new);
        for member in snapshot.members() {
            match self.0.entry(member.backend.addr.clone()) {
                Entry::Occupied(known) => known.get().update(member),
                Entry::Vacant(place) => {
                    place.insert(prober.join(pool, member, first_round.clone()));
                }
            }
        }
    }
}
