//! The pingora background service that keeps every pool up to date: it asks discovery and probes backends.

use std::collections::HashMap;
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
use super::prober::probe_for_ever;

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
        let mut keepers = JoinSet::new();
        let mut rounds = Vec::new();
        for pool in &self.pools {
            let (first_round, done) = watch::channel(());
            keepers.spawn(keep(Arc::clone(pool), first_round));
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
async fn keep(pool: Arc<Pool>, first_round: watch::Sender<()>) {
    let mut first_round = Some(first_round);
    let mut probers = Probers::default();
    let _ramp = pool.ramp.map(|every| Ramp::start(Arc::clone(&pool), every));
    loop {
        // A failure is logged where it happens, and leaves the backends as they were.
        let discovered = pool.discover().await.is_ok();
        probers.follow(&pool, first_round.take());
        match pool.rediscover {
            _ if !discovered => tokio::time::sleep(FIRST_RETRY).await,
            Some(every) => tokio::time::sleep(every).await,
            None => std::future::pending().await,
        }
    }
}

/// A task that moves on those of a pool that are in slow start; ended when dropped.
struct Ramp(AbortHandle);

impl Ramp {
    fn start(pool: Arc<Pool>, every: Duration) -> Self {
        let step = async move {
            loop {
                tokio::time::sleep(every).await;
                if pool.roster.load().ramping() {
                    pool.refresh().await;
                }
            }
        };
        Ramp(tokio::spawn(step).abort_handle())
    }
}

impl Drop for Ramp {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The probing tasks of one pool.
#[derive(Default)]
struct Probers(HashMap<SocketAddr, Prober>);

/// A probing task, ended when dropped.
struct Prober {
    weight: usize,
    task: AbortHandle,
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Probers {
    /// Begin to probe who has come, and stop for who has gone. `first_round` is dropped with the last first probe.
    fn follow(&mut self, pool: &Arc<Pool>, first_round: Option<watch::Sender<()>>) {
        let snapshot = pool.roster.load();
        for member in snapshot.members() {
            // Pingora takes a backend that it has not seen for alive.
            pool.balancer.mark(&member.backend, member.state.eligible());
        }
        if pool.check.is_none() {
            return;
        }
        self.0.retain(|address, _| snapshot.find(address).is_some());
        let first_round = first_round.map(Arc::new);
        for member in snapshot.members() {
            let (address, weight) = (&member.backend.addr, member.backend.weight);
            if self.0.get(address).is_some_and(|prober| prober.weight == weight) {
                continue;
            }
            let probed = first_round.clone();
            let task = tokio::spawn(probe_for_ever(Arc::clone(pool), member.clone(), move || drop(probed)));
            let task = task.abort_handle();
            self.0.insert(address.clone(), Prober { weight, task });
        }
    }
}
