//! The pingora background service that keeps every pool up to date: it asks discovery and probes backends.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use log::warn;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::ServiceReadyNotifier;
use pingora_core::services::background::BackgroundService;
use tokio::sync::watch;
use tokio::time::timeout;

use super::Pool;
use super::keepers::Keepers;
use super::watchdog::Watchdog;

/// How long listeners wait for the first round. A source that never answers must not keep the other pools from serving.
pub(crate) const FIRST_ROUND: Duration = Duration::from_secs(10);

/// Keeps pools up to date. Ready after the first discovery and the first round of probes of every pool, so that a listener
/// that waits for it does not answer 503 to the first client.
pub struct PoolService {
    pools: Vec<Arc<Pool>>,
    keepers: Keepers,
    settled: watch::Sender<bool>,
}

impl PoolService {
    /// A service for these pools.
    pub fn new(pools: Vec<Arc<Pool>>) -> Self {
        PoolService { pools, keepers: Keepers::default(), settled: watch::Sender::new(false) }
    }

    /// Turns true when every pool has gone through its first round.
    pub fn settled(&self) -> watch::Receiver<bool> {
        self.settled.subscribe()
    }

    /// Through which pools come and go once it has started.
    pub fn keepers(&self) -> Keepers {
        self.keepers.clone()
    }
}

#[async_trait]
impl BackgroundService for PoolService {
    async fn start_with_ready_notifier(&self, _: ShutdownWatch, ready: ServiceReadyNotifier) {
        self.keepers.start();
        let first_round = self.keepers.keep(&self.pools);
        let _watchdog = Watchdog::start(&self.keepers);
        let settle = async {
            first_round.over().await;
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
        pending().await
    }
}
