//! The backends that the file lists. A host name among them is looked up anew at every turn, so that it may move.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use log::warn;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::{Error, ErrorType, OrErr, Result};
use pingora_load_balancing::discovery::ServiceDiscovery;
use pingora_load_balancing::{Backend, Extensions};

use crate::backend::Attributes;
use crate::config::{self, BackendAddress};

/// The backends of a list, each name among them resolved to every address that it has.
pub struct Configured {
    backends: Vec<config::Backend>,
    /// What each name last resolved to: a resolver that is down takes nobody out.
    resolved: Mutex<HashMap<String, Vec<SocketAddr>>>,
}

impl Configured {
    /// A source of these backends.
    pub fn new(backends: &[config::Backend]) -> Self {
        Configured { backends: backends.to_vec(), resolved: Mutex::default() }
    }

    /// Whether there is a name that may resolve to something else tomorrow.
    pub fn has_names(&self) -> bool {
        let is_name = |b: &config::Backend| matches!(b.address, BackendAddress::Name(..));
        self.backends.iter().any(is_name)
    }

    async fn resolve(&self, name: &str, port: u16) -> Vec<SocketAddr> {
        let key = format!("{name}:{port}");
        let error = match tokio::net::lookup_host((name, port)).await {
            Ok(found) => {
                let found: Vec<_> = found.map(SocketAddr::Inet).collect();
                if !found.is_empty() {
                    self.known().insert(key, found.clone());
                    return found;
                }
                "no address".to_owned()
            }
            Err(e) => e.to_string(),
        };
        let last = self.known().get(&key).cloned().unwrap_or_default();
        warn!("cannot resolve {key}: {error}; going on with the last answer, {} addresses", last.len());
        last
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<SocketAddr>>> {
        self.resolved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn addresses(&self, address: &BackendAddress) -> Result<Vec<SocketAddr>> {
        Ok(match address {
            BackendAddress::Ip(address) => vec![SocketAddr::Inet(*address)],
            BackendAddress::Name(name, port) => self.resolve(name, *port).await,
            BackendAddress::Unix(path) => vec![unix(path)?],
        })
    }
}

fn unix(path: &Path) -> Result<SocketAddr> {
    let address = std::os::unix::net::SocketAddr::from_pathname(path)
        .or_err_with(ErrorType::SocketError, || format!("bad socket path {}", path.display()))?;
    Ok(SocketAddr::from(address))
}

fn discovered(addr: SocketAddr, backend: &config::Backend) -> Backend {
    let mut ext = Extensions::new();
    let name = match &backend.address {
        BackendAddress::Name(name, _) => Some(Arc::from(name.as_str())),
        BackendAddress::Ip(_) | BackendAddress::Unix(_) => None,
    };
    ext.insert(Attributes {
        name,
        zone: backend.zone.as_deref().map(Arc::from),
        priority: backend.priority,
        max_in_flight: backend.max_in_flight,
    });
    Backend { addr, weight: usize::from(backend.weight), ext }
}

#[async_trait]
impl ServiceDiscovery for Configured {
    async fn discover(&self) -> Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        // Keyed by address: two names may lead to one host, and it must not count twice.
        let mut found: HashMap<SocketAddr, Backend> = HashMap::new();
        for backend in &self.backends {
            for addr in self.addresses(&backend.address).await? {
                found.entry(addr.clone()).or_insert_with(|| discovered(addr, backend));
            }
        }
        if found.is_empty() {
            return Error::e_explain(ErrorType::ConnectNoRoute, "none of the names resolves");
        }
        Ok((found.into_values().collect(), HashMap::new()))
    }
}
