//! The pingora background service that keeps every pool up to date: it asks discovery and probes backends.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use log::{error, warn};
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::ServiceReadyNotifier;
use pingora_core::services::background::BackgroundService;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::Pool;
use super::adapt::adapt_for_ever;
use super::observer::observe_for_ever;
use super::prober::{Prober, Probers, Subscription};
use super::watchdog::Watchdog;

/// How long a failed first discovery may be away from its next try.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// How long listeners wait for the first round. A source that never answers must not keep the other pools from serving.
const FIRST_ROUND: Duration = Duration::from_secs(10);

/// Keeps pools up to date. Ready after the first discovery and the first round of probes of every pool, so that a listener
/// that waits for it does not answer 503 to the first client.
pub struct PoolService {
    pools: Vec<Arc<Pool>>,
    settled: watch::Sender<bool>,
}

impl PoolService {
    /// A service for these pools.
    pub fn new(pools: Vec<Arc<Pool>>) -> Self {
        PoolService { pools, settled: watch::Sender::new(false) }
    }

    /// Turns true when every pool has gone through its first round.
    pub fn settled(&self) -> watch::Receiver<bool> {
        self.settled.subscribe()
    }
}

#[async_trait]
impl BackgroundService for PoolService {
    async fn start_with_ready_notifier(&self, _: ShutdownWatch, ready: ServiceReadyNotifier) {
        let (mut keepers, probers) = (JoinSet::new(), Probers::default());
        let _watchdog = Watchdog::start(&self.pools);
        let mut rounds = Vec::new();
        for pool in &self.pools {
            let (first_round, done) = watch::channel(());
            keepers.spawn(keep(Arc::clone(pool), probers.of(pool), first_round));
            rounds.push(done);
        }
        let settle = async {
            for mut round in rounds {
                // An error is the sender's end: that pool's first round is over.
                while round.changed().await.is_ok() {}
            }
            self.settled.send_replace(true);
        };
        tokio::pin!(settle);
        if timeout(FIRST_ROUND, &mut settle).await.is_err() {
            warn!("serving though not every backend has been probed within {FIRST_ROUND:?}");
            ready.notify_ready();
            settle.await;
        } else {
            ready.notify_ready();
        }
        // Backends are probed on while requests drain: the keepers go with the process.
        while let Some(ended) = keepers.join_next().await {
            error!("a pool is not kept up to date any more: {ended:?}");
        }
    }
}

/// Keep one pool up to date. `first_round` is dropped when each backend of the first discovery has been probed.
pub(super) async fn keep(pool: Arc<Pool>, prober: Option<Arc<Prober>>, first_round: watch::Sender<()>) {
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
            Some(every) => tokio::time::sleep(every).await,
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
