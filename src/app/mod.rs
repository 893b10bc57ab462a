//! The composition root: the one place that knows everyone.
//!
//! [`App`] takes a validated configuration and what a library user adds to it, and makes a pingora `Server` of both:
//! listeners, the proxy, the pools' background service, the admin pages.

mod build;
mod build_pool;
mod checks;
mod control;
mod files;
mod front;
mod listen;
mod registry;
mod reload;
mod stop;

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use log::info;
use pingora_core::apps::HttpServerOptions;
use pingora_core::server::configuration::{Opt, ServerConf};
use pingora_core::server::{RunArgs, Server};
use pingora_core::services::background::background_service;
use pingora_load_balancing::discovery::ServiceDiscovery;
use pingora_load_balancing::health_check::HealthCheck;
use pingora_load_balancing::selection::{BackendIter, BackendSelection};
use pingora_proxy::http_proxy;

use crate::admin::{Admin, Orders};
use crate::backend::Roster;
use crate::config::{self, Config, ConfigError, ListenAddress, Listener, Mistake, Options};
use crate::filter::Filter;
use crate::metrics::Metrics;
use crate::pool::PoolService;
use crate::proxy::{Generation, Proxy};
use build_pool::Tools;
use checks::Checks;
use control::Control;
use front::Front;
use listen::{Listening, Socket};
use registry::Registry;
use reload::Reloader;

/// How long requests in flight may take to finish when `grace_period_seconds` is not given. Pingora's own default is 300,
/// more than any supervisor waits before it kills.
const GRACE_PERIOD_SECONDS: u64 = 30;

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
                    let mut checks = Checks::new(self.config.server.ca_file.as_deref());
                    let mut tools = Tools { registry: &self.registry, metrics: &metrics, checks: &mut checks };
                    mistakes = build::build(&config, &mut tools).err().unwrap_or_default();
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
        let mut checks = Checks::new(self.config.server.ca_file.as_deref());
        let mut tools = Tools { registry: &self.registry, metrics: &metrics, checks: &mut checks };
        let generation = build::build(&self.config, &mut tools).map_err(|mistakes| self.error(mistakes))?;
        let generation = Arc::new(ArcSwap::from_pointee(generation));
        let sockets = self.bind(options.upgrade)?;
        let conf = server_conf(&self.config.server).map_err(RunError::Start)?;

        let mut server = Server::new_with_opt_and_conf(pingora_options(options), conf);
        server.bootstrap();
        let upgrade_sock = server.configuration.upgrade_sock.clone();
        let orders = self.add_services(&mut server, Serving { generation, metrics, checks }, sockets)?;
        server.run(RunArgs { shutdown_signal: Box::new(stop::Signals { upgrade_sock, orders }) });
        Ok(())
    }

    /// Every socket of the configuration: the listeners' in their order, then the admin's.
    fn bind(&self, take_over: bool) -> Result<Vec<Socket>, RunError> {
        let admin = self.config.admin.as_ref().map(|admin| ListenAddress::Tcp(admin.address));
        let addresses = self.config.listeners.iter().map(|listener| &listener.address).chain(&admin);
        let bind = |address: &ListenAddress| {
            listen::bind(address, take_over).map_err(|source| RunError::Listen { address: address.to_string(), source })
        };
        addresses.map(bind).collect()
    }

    /// Says where orders are taken.
    fn add_services(self, server: &mut Server, serving: Serving, mut sockets: Vec<Socket>) -> Result<Orders, RunError> {
        let Serving { generation, metrics, checks } = serving;
        let pools = PoolService::new(generation.load().pools.clone());
        let (settled, keepers) = (pools.settled(), pools.keepers());
        let (orders, ordered) = Orders::new();
        let stop = stop::Stop::new(Arc::clone(&generation));
        let stopping = stop.stopping();
        let pools = server.add_service(background_service("pools", pools));

        let addresses: Vec<String> = sockets.iter().map(|socket| socket.address.to_string()).collect();
        let admin_socket = self.config.admin.as_ref().and_then(|_| sockets.pop());
        let listeners = self.config.listeners.iter().zip(sockets);
        // HTTP/2 by prior knowledge is an option of a whole pingora service.
        let (h2c, plain): (Vec<_>, Vec<_>) = listeners.partition(|(listener, _)| listener.h2c);
        for (name, listeners) in [("proxy", plain), ("proxy h2c", h2c)] {
            if listeners.is_empty() {
                continue;
            }
            let proxy = self.proxy(server, Arc::clone(&generation), name == "proxy h2c");
            let service = listening(name, proxy, listeners)?;
            // Listeners open when every backend has been probed once: no client is turned away for a process that starts.
            server.add_service(service).add_dependency(&pools);
        }
        if let Some(socket) = admin_socket {
            info!("admin on {}", socket.address);
            let (generation, metrics) = (Arc::clone(&generation), Arc::clone(&metrics));
            let admin = Admin::new(generation, metrics, settled, stopping, addresses, orders.clone());
            let mut service = Listening::new("admin", admin, Some(1));
            service.add(socket, None).map_err(|e| RunError::Start(e.to_string()))?;
            server.add_service(service);
        }
        server.add_service(background_service("stop", stop));
        let mut config = self.config;
        // A daemon changes its folder, and a reload comes after that.
        config.file = config.file.map(|file| std::path::absolute(&file).unwrap_or(file));
        let reloader = Reloader::new(config, self.registry, checks, Arc::clone(&metrics), generation, keepers);
        server.add_service(background_service("control", Control::new(ordered, reloader, metrics)));
        Ok(orders)
    }

    fn proxy(&self, server: &Server, generation: Arc<ArcSwap<Generation>>, h2c: bool) -> Front {
        let mut proxy = http_proxy(&server.configuration, Proxy::new(generation));
        let mut options = HttpServerOptions::default();
        options.h2c = h2c;
        options.h2_idle_timeout = Some(self.config.limits.idle_timeout);
        proxy.server_options = Some(options);
        Front::new(proxy, self.config.limits.idle_timeout, h2c)
    }
}

/// What serves.
struct Serving {
    generation: Arc<ArcSwap<Generation>>,
    metrics: Arc<Metrics>,
    checks: Checks,
}

fn listening(name: &str, proxy: Front, listeners: Vec<(&Listener, Socket)>) -> Result<Listening<Front>, RunError> {
    let mut service = Listening::new(name, proxy, None);
    for (listener, socket) in listeners {
        info!("listening on {}", socket.address);
        service.add(socket, listener.tls.as_ref()).map_err(|e| RunError::Start(e.to_string()))?;
    }
    Ok(service)
}

fn pingora_options(options: RunOptions) -> Opt {
    Opt { daemon: options.daemon, upgrade: options.upgrade, ..Opt::default() }
}

/// A copy of the configuration's part for pingora, which wants one of its own and cannot clone it.
fn server_conf(configured: &ServerConf) -> Result<ServerConf, String> {
    let copy = serde_json::to_value(configured).and_then(serde_json::from_value);
    let mut conf: ServerConf = copy.map_err(|e| e.to_string())?;
    conf.grace_period_seconds.get_or_insert(GRACE_PERIOD_SECONDS);
    // Attempts are ours to count; this one of pingora's only ends what never ends.
    conf.max_retries = MAX_TRIES;
    Ok(conf)
}
