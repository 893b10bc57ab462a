//! The composition root: the one place that knows everyone.
//!
//! [`App`] takes a validated configuration and what a library user adds to it, and makes a pingora `Server` of both:
//! listeners, the proxy, the pools' background service, the admin pages.

mod admin_service;
mod build;
mod build_pool;
mod downstream;
mod frames;
mod front;
mod listen;
mod listeners;
mod registry;
mod signals;
mod stop;

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use log::info;
use pingora_core::server::configuration::{Opt, ServerConf};
use pingora_core::server::{RunArgs, Server};
use pingora_core::services::background::background_service;
use pingora_load_balancing::discovery::ServiceDiscovery;
use pingora_load_balancing::health_check::HealthCheck;
use pingora_load_balancing::selection::{BackendIter, BackendSelection};
use pingora_proxy::http_proxy;
use tokio::sync::watch;

use crate::admin::Admin;
use crate::backend::Roster;
use crate::config::{self, Config, ConfigError, ListenAddress, Mistake, Options};
use crate::filter::Filter;
use crate::metrics::Metrics;
use crate::pool::PoolService;
use crate::proxy::{Generation, Proxy, Traffic};
use admin_service::AdminService;
use front::Front;
use listen::Socket;
use listeners::{ListenError, Listeners, ListenersService};
use registry::Registry;
use signals::Signals;
use stop::{Stop, Times};

/// More than any request makes: every attempt that a pool may allow, and the connections that turn out stale.
const MAX_TRIES: usize = 2 * config::Retry::MAX_ATTEMPTS as usize;

/// A load balancer, ready to run.
pub struct App {
    config: Config,
    registry: Registry,
}

/// How to run.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunOptions {
    /// Become a daemon.
    pub daemon: bool,
    /// Take the listening sockets over from the running process.
    pub upgrade: bool,
}

/// Why an [`App`] does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration names what nobody registered, or gives it options that it refuses.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// Something else that should not happen.
    #[error("cannot start: {0}")]
    Start(String),
}

impl App {
    /// An app that runs `config`.
    pub fn new(config: Config) -> Self {
        App { config, registry: Registry::default() }
    }

    /// Register a filter: `filters: [NAME: {…}]` in a route makes one with `make`.
    #[must_use]
    pub fn filter<F: Filter + 'static>(
        mut self,
        name: &str,
        make: impl Fn(&Options) -> Result<F, Mistake> + Send + Sync + 'static,
    ) -> Self {
        self.registry.add_filter(name, Box::new(move |options| Ok(Arc::new(make(options)?))));
        self
    }

    /// Register a health check: `health_check: { NAME: {…} }` in a pool makes one with `make`. Interval, timeout, `rise`
    /// and `fall` are the pool's; the check's own thresholds are not asked.
    #[must_use]
    pub fn health_check<C: HealthCheck + Send + Sync + 'static>(
        mut self,
        name: &str,
        make: impl Fn(&Options) -> Result<C, Mistake> + Send + Sync + 'static,
    ) -> Self {
        self.registry.add_check(name, Box::new(move |options| Ok(Arc::new(make(options)?))));
        self
    }

    /// Register a source of backends: `discovery: { NAME: {…} }` in a pool makes one with `make`.
    #[must_use]
    pub fn discovery<D: ServiceDiscovery + Send + Sync + 'static>(
        mut self,
        name: &str,
        make: impl Fn(&Options) -> Result<D, Mistake> + Send + Sync + 'static,
    ) -> Self {
        self.registry.add_source(name, Box::new(move |options| Ok(Box::new(make(options)?))));
        self
    }

    /// Register an algorithm: `balance: NAME` or `balance: { NAME: {…} }` in a pool. `configure` makes its configuration;
    /// through the roster an algorithm sees the state of each backend.
    #[must_use]
    pub fn balance<S>(
        mut self,
        name: &str,
        configure: impl Fn(&Options, &Arc<Roster>) -> Result<S::Config, Mistake> + Send + Sync + 'static,
    ) -> Self
    where
        S: BackendSelection + Send + Sync + 'static,
        S::Iter: BackendIter,
        S::Config: 'static,
    {
        self.registry.add_balance::<S>(name, configure);
        self
    }

    /// Find what would keep it from starting, without starting: names that nobody registered, options that their owners
    /// refuse, files that are not usable here.
    ///
    /// # Errors
    /// Every mistake.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut mistakes = config::environment(&self.config);
        if mistakes.is_empty() {
            match Metrics::new() {
                Ok(metrics) => {
                    // Without the log: to open it would make it.
                    let config = Config { access_log: None, ..self.config.clone() };
                    mistakes = build::build(&config, &self.registry, &metrics).err().unwrap_or_default();
                }
                Err(e) => mistakes.push(Mistake::new(config::Position::default(), "", e.to_string())),
            }
        }
        if mistakes.is_empty() { Ok(()) } else { Err(self.error(mistakes)) }
    }

    /// What [`App::check`] lets pass because a start would, too: backend names that do not resolve here.
    pub fn warnings(&self) -> Option<ConfigError> {
        let unresolved = config::unresolved(&self.config);
        (!unresolved.is_empty()).then(|| self.error(unresolved))
    }

    fn error(&self, mistakes: Vec<Mistake>) -> ConfigError {
        ConfigError::new(self.config.file.as_deref(), mistakes)
    }

    /// Run until a signal ends it. Does not return unless it could not start.
    ///
    /// # Errors
    /// Why it could not start; nothing is left half started.
    pub fn run(self, options: RunOptions) -> Result<(), RunError> {
        let metrics = Arc::new(Metrics::new().map_err(|e| RunError::Start(e.to_string()))?);
        let mistakes = config::environment(&self.config);
        if !mistakes.is_empty() {
            return Err(self.error(mistakes).into());
        }
        let generation =
            build::build(&self.config, &self.registry, &metrics).map_err(|mistakes| self.error(mistakes))?;
        let generation = Arc::new(ArcSwap::from_pointee(generation));
        let conf = server_conf(&self.config.server).map_err(RunError::Start)?;
        let mut server = Server::new_with_opt_and_conf(pingora_options(options), conf);
        let traffic = Arc::new(Traffic::default());
        let (listeners, service) = self.listeners(&server, &generation, &traffic);
        listeners.apply(&self.config.listeners)?;
        let admin = self.config.admin.as_ref().map(|admin| bind(&ListenAddress::Tcp(admin.address))).transpose()?;

        let stopping = watch::Sender::new(false);
        let pools = PoolService::new(generation.load().pools.clone());
        let admin = admin.map(|socket| {
            let mut addresses: Vec<String> = listeners.addresses().iter().map(ToString::to_string).collect();
            addresses.push(socket.address.to_string());
            info!("admin on {}", socket.address);
            let admin = Admin::new(generation, metrics, pools.settled(), stopping.subscribe(), addresses);
            AdminService::new(admin, socket).map_err(|e| RunError::Start(e.to_string()))
        });
        let (admin_service, admin) = admin.transpose()?.unzip();
        let pools = server.add_service(background_service("pools", pools));
        // Listeners open when every backend has been probed once: no client is turned away for a process that starts.
        server.add_service(service).add_dependency(&pools);
        admin_service.map(|service| server.add_service(service));

        let stop = Arc::new(Stop::new(listeners, admin, traffic, stopping, Times::of(&self.config)));
        let upgrade_sock = server.configuration.upgrade_sock.clone();
        server.run(RunArgs { shutdown_signal: Box::new(Signals { stop, upgrade_sock }) });
        Ok(())
    }

    fn listeners(
        &self,
        server: &Server,
        generation: &Arc<ArcSwap<Generation>>,
        traffic: &Arc<Traffic>,
    ) -> (Listeners, ListenersService) {
        let front = || {
            let proxy = http_proxy(&server.configuration, Proxy::new(Arc::clone(generation)));
            Front::new(proxy, Arc::clone(generation), Arc::clone(traffic))
        };
        Listeners::new(front(), front())
    }
}

fn bind(address: &ListenAddress) -> Result<Socket, ListenError> {
    listen::bind(address).map_err(|source| ListenError { address: address.clone(), source })
}

impl From<ListenError> for RunError {
    fn from(e: ListenError) -> Self {
        RunError::Listen { address: e.address.to_string(), source: e.source }
    }
}

fn pingora_options(options: RunOptions) -> Opt {
    // Not pingora's upgrade: it loses traffic when anything goes wrong.
    Opt { daemon: options.daemon, ..Opt::default() }
}

/// A copy of the configuration's part for pingora, which wants one of its own and cannot clone it.
fn server_conf(configured: &ServerConf) -> Result<ServerConf, String> {
    let copy = serde_json::to_value(configured).and_then(serde_json::from_value);
    let mut conf: ServerConf = copy.map_err(|e| e.to_string())?;
    // Attempts are ours to count; this one of pingora's only ends what never ends.
    conf.max_retries = MAX_TRIES;
    Ok(conf)
}
