//! A pingora `LoadBalancer`, whatever its algorithm: the generic parameter stops here.

use async_trait::async_trait;
use pingora_core::Result;
use pingora_load_balancing::selection::{BackendIter, BackendSelection};
use pingora_load_balancing::{Backend, LoadBalancer};

/// How many backends of each pool an algorithm may offer for one pick before the pool looks for itself. Some of pingora's
/// own never end, and repeat themselves.
const MAX_OFFERS: usize = 1024;

/// What a pool needs of a `LoadBalancer`. Implemented once, here.
#[async_trait]
pub(super) trait Balancer: Send + Sync {
    /// Offer backends in the algorithm's order until one is accepted.
    fn select(&self, key: &[u8], accept: &dyn Fn(&Backend) -> bool);

    /// Ask discovery, and rebuild the algorithm if the backends have changed.
    async fn update(&self) -> Result<()>;

    /// Mark a backend alive or dead in pingora's own books too, for whoever reads them.
    fn mark(&self, backend: &Backend, alive: bool);
}

#[async_trait]
impl<S> Balancer for LoadBalancer<S>
where
    S: BackendSelection + Send + Sync + 'static,
    S::Iter: BackendIter,
{
    fn select(&self, key: &[u8], accept: &dyn Fn(&Backend) -> bool) {
        // Pingora's own verdict is left out: it lags behind ours while a set changes.
        self.select_with(key, MAX_OFFERS, |backend, _| accept(backend));
    }

    async fn update(&self) -> Result<()> {
        LoadBalancer::update(self).await
    }

    fn mark(&self, backend: &Backend, alive: bool) {
        self.backends().set_enable(backend, alive);
    }
}
