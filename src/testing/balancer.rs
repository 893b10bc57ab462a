//! The balancer, in the test's own process.

use std::net::SocketAddr;
use std::path::Path;

use super::request::ask;
use super::samples;
use super::{LIMIT, Request, Response, wait};
use crate::admin::{self, PoolView};
use crate::app::{App, RunError, Running};
use crate::config::{Config, ListenAddress};

/// What a configuration need not say. Two threads, as any number above one shows what one does not.
const USUAL: &str = "listeners: [{ address: '127.0.0.1:0' }]\nadmin: off\nthreads: 2";

/// What messages call the configuration.
const NAME: &str = "<yaml>";

/// A balancer that runs in the test's own process. Its drop ends it: requests in flight are cut off, and its ports are closed
/// when that returns.
pub struct Balancer {
    running: Running,
    /// Where the listeners are that it began with and that are on TCP, then its admin pages.
    addresses: Vec<SocketAddr>,
}

impl Balancer {
    /// Start one with this configuration, to which `extend` adds what is yours: the same closure as [`crate::cli::main`]'s.
    /// Returns when it accepts requests, which is when every backend has been probed once.
    ///
    /// The configuration need not have `listeners`: there is one then on a port of 127.0.0.1 that the system chooses. `admin` is
    /// off, and `threads` 2, unless it says otherwise; nothing is written to the disk, unless it asks for a log there.
    ///
    /// Panics if it cannot start, with the text that `check` prints.
    #[track_caller]
    pub fn start(yaml: &str, extend: impl FnOnce(App) -> App) -> Self {
        match Balancer::try_start(yaml, extend) {
            Ok(balancer) => balancer,
            Err(e) => panic!("the balancer does not start:\n{e}"),
        }
    }

    /// [`Balancer::start`], to test what is refused.
    ///
    /// # Errors
    /// Why it cannot start: a mistake in the configuration prints as `check` prints it, in a file that is called `<yaml>`.
    pub fn try_start(yaml: &str, extend: impl FnOnce(App) -> App) -> Result<Self, RunError> {
        let running = App::of(Config::parse_over(USUAL, yaml, Path::new(NAME)), extend)?.start()?;
        let tcp = |address: &ListenAddress| match address {
            ListenAddress::Tcp(address) => Some(*address),
            ListenAddress::Unix(_) => None,
        };
        let addresses = running.addresses().iter().filter_map(tcp).collect();
        Ok(Balancer { running, addresses })
    }

    /// Put this configuration in the place of the one that it has, as `evenkeel reload` does: all of it or nothing, and no request
    /// notices. Returns when it is in place, with the line that says what has changed. Filters whose options and files are the same
    /// go on; the sources of backends are asked anew.
    ///
    /// Panics if it is refused, with the text that `evenkeel reload` prints.
    #[track_caller]
    pub fn reload(&self, yaml: &str) -> String {
        match self.try_reload(yaml) {
            Ok(receipt) => receipt,
            Err(e) => panic!("the reload is refused, and it serves on as before:\n{e}"),
        }
    }

    /// [`Balancer::reload`], to test what is refused.
    ///
    /// # Errors
    /// Why it is refused; the balancer serves on as before.
    pub fn try_reload(&self, yaml: &str) -> Result<String, String> {
        let config = Config::parse_over(USUAL, yaml, Path::new(NAME)).map_err(|e| e.to_string())?;
        self.running.reload(config).map(|receipt| receipt.to_string()).map_err(|e| e.to_string())
    }

    /// Where its first listener on TCP is, for a client of your own. Panics if there is none.
    #[track_caller]
    pub fn address(&self) -> SocketAddr {
        let first = self.addresses.first();
        *first.unwrap_or_else(|| panic!("the balancer listens on no TCP address"))
    }

    /// Where its listeners are that are on TCP, in the order of the configuration; then its admin pages, if it has any.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// A GET to its first listener.
    #[track_caller]
    pub fn get(&self, target: &str) -> Request {
        self.request("GET", target)
    }

    /// A POST to its first listener.
    #[track_caller]
    pub fn post(&self, target: &str) -> Request {
        self.request("POST", target)
    }

    /// A request with any method to its first listener, which is asked over plain HTTP/1.1.
    #[track_caller]
    pub fn request(&self, method: &str, target: &str) -> Request {
        Request::new(self.address(), method, target)
    }

    /// Send these bytes to its first listener, and read the answer. Panics if there is none.
    #[track_caller]
    pub fn send_raw(&self, bytes: impl AsRef<[u8]>) -> Response {
        let bytes = bytes.as_ref();
        let method = bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
        let answer = ask(self.address(), bytes, &String::from_utf8_lossy(method));
        answer.unwrap_or_else(|e| panic!("no answer to {:?}: {e}", String::from_utf8_lossy(bytes)))
    }

    /// What it has counted, as `/metrics` shows it: `evenkeel_requests_total{pool="web"}` is the sum of the samples of that name
    /// with that label, whatever others they have, and 0 if there are none.
    ///
    /// A request is counted when it is over, which may be a moment after its answer has been read: see
    /// [`Balancer::wait_until`].
    pub fn metric(&self, sample: &str) -> f64 {
        let (metrics, generation) = (self.running.metrics(), self.running.generation());
        let text = metrics.zip(generation).and_then(|(metrics, generation)| admin::scrape(metrics, &generation).ok());
        samples::sum(&String::from_utf8_lossy(&text.unwrap_or_default()), sample)
    }

    /// What is known of a pool and of each of its backends, as `/api/v1/pools` shows it. Panics if there is no such pool.
    #[track_caller]
    pub fn pool(&self, name: &str) -> PoolView {
        let found = self.pools().into_iter().find(|pool| pool.name == name);
        found.unwrap_or_else(|| panic!("the balancer has no pool '{name}'"))
    }

    fn pools(&self) -> Vec<PoolView> {
        self.running.generation().map(|generation| admin::pools(&generation)).unwrap_or_default()
    }

    /// Wait until `so` says that it is so; it is asked every few milliseconds. Panics after 20 s, with `what`, and what is known
    /// of the pools.
    #[track_caller]
    pub fn wait_until(&self, what: &str, so: impl Fn(&Balancer) -> bool) {
        if !wait(|| so(self)) {
            panic!("not within {LIMIT:?}: {what}\n{:#?}", self.pools());
        }
    }
}

impl std::fmt::Debug for Balancer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Balancer").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}
