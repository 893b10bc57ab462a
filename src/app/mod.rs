//! The composition root: the one place that knows everyone.
//!
//! [`App`] takes a validated configuration and what a library user adds to it, and makes a pingora `Server` of both:
//! listeners, the proxy, the pools' background service, the admin pages.

mod admin_service;
mod build;
mod build_pool;
mod certificates;
mod checks;
mod control;
mod explain;
mod file_watch;
mod files;
mod filters;
mod handed;
mod listen;
mod listeners;
mod logs;
mod open_files;
mod port;
mod registry;
mod reload;
mod run;
mod running;
mod signals;
mod stop;
mod systemd;
mod upgrade;

use std::io;
use std::sync::Arc;

use pingora_load_balancing::discovery::ServiceDiscovery;
use pingora_load_balancing::health_check::HealthCheck;
use pingora_load_balancing::selection::{BackendIter, BackendSelection};

use crate::backend::Roster;
use crate::config::{self, Config, ConfigError, Mistake, Options};
use crate::filter::Filter;
use crate::front;
use crate::metrics::Metrics;
use build_pool::Tools;
use checks::Checks;
pub(crate) use explain::explain;
use listeners::ListenError;
use registry::Registry;
pub(crate) use running::Running;
use signals::Early;
use upgrade::{Inheritance, Program};

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
    /// Become a daemon. Default `false`.
    pub daemon: bool,
    /// Take the listening sockets over from the running process. Default `false`.
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
        App { config, registry: Registry::new() }
    }

    /// Register a filter: `filters: [NAME: {…}]` of the whole, of a listener or of a route makes one with `make`. It is called for
    /// each place that names it, at the start, by `check`, and by a reload for whoever is new or was changed; so it begins
    /// nothing that must be ended. A built-in one of this name gives way.
    ///
    /// What `make` refuses is a mistake in the configuration. See the [page about filters](crate::book::extending::filter).
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
    /// and `fall` are the pool's; the check's own thresholds are not asked. `tcp`, `http` and `grpc` stay what they are. See the
    /// [page about health checks](crate::book::extending::health_check).
    #[must_use]
    pub fn health_check<C: HealthCheck + Send + Sync + 'static>(
        mut self,
        name: &str,
        make: impl Fn(&Options) -> Result<C, Mistake> + Send + Sync + 'static,
    ) -> Self {
        self.registry.add_check(name, Box::new(move |options| Ok(Arc::new(make(options)?))));
        self
    }

    /// Register a source of backends: `discovery: { NAME: {…} }` in a pool makes one with `make`. It is asked every 10 s. See the
    /// [page about sources](crate::book::extending::discovery).
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
    /// through the roster an algorithm sees the state of each backend. The names of built-in ones stay theirs. See the
    /// [page about algorithms](crate::book::extending::algorithm).
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

    /// Say what may stand beside the name of an extension of yours, as [JSON Schema](https://json-schema.org): editors then
    /// complete and check it like everything else. It stands for itself: references out of it lead nowhere.
    ///
    /// It is about what you have registered under this name so far, of any kind, and not about what is built in.
    ///
    /// Without it the name is known, and anything may stand beside it.
    #[must_use]
    pub fn describe(mut self, name: &str, options: serde_json::Value) -> Self {
        self.registry.describe(name, &options);
        self
    }

    /// What a configuration of this program may hold, as JSON Schema, draft 2020-12. The configuration of this app is not looked at.
    pub fn schema(&self) -> serde_json::Value {
        config::schema(&self.registry.registered())
    }

    /// Find what would keep it from starting, without starting: names that nobody registered, options that their owners
    /// refuse, files that are not usable here.
    ///
    /// # Errors
    /// Every mistake.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut mistakes = self.examine();
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

    /// The app of a configuration that was read, or all that is wrong with it. `extend` adds what is its author's, as in
    /// [`cli::main`](crate::cli::main).
    ///
    /// # Errors
    /// Every mistake in the file, of what it names, too, as far as it could be read.
    pub(crate) fn of(
        config: Result<Config, ConfigError>,
        extend: impl FnOnce(App) -> App,
    ) -> Result<Self, ConfigError> {
        match config {
            Ok(config) => Ok(extend(App::new(config))),
            Err(e) => Err(e.and(|readable| extend(App::new(readable.clone())).registry.examine(readable))),
        }
    }

    /// What [`App::check`] lets pass because a start would, too: backend names that do not resolve here, certificates that come
    /// to their end.
    pub fn warnings(&self) -> Option<ConfigError> {
        let warnings = [config::unresolved(&self.config), front::warnings(&self.config)].concat();
        (!warnings.is_empty()).then(|| self.error(warnings))
    }

    /// What keeps a valid configuration from being used on this machine, now. If something does, what it names is looked at as well, so
    /// that all is said at once; if nothing does, building finds that.
    fn examine(&self) -> Vec<Mistake> {
        let mut mistakes = surroundings(&self.config);
        if !mistakes.is_empty() {
            mistakes.extend(self.registry.examine(&self.config));
        }
        mistakes
    }

    fn error(&self, mistakes: Vec<Mistake>) -> ConfigError {
        ConfigError::new(self.config.file.as_deref(), mistakes)
    }

    /// Run until a signal ends it. Does not return unless it could not start.
    ///
    /// # Errors
    /// Why it could not start; nothing is left half started.
    pub fn run(self, options: RunOptions) -> Result<(), RunError> {
        let (program, early) = (Program::this(options.upgrade), Early::catch());
        open_files::raise();
        let mistakes = self.examine();
        if !mistakes.is_empty() {
            return Err(self.error(mistakes).into());
        }
        let wait = |_| Inheritance::wait(&self.config.server.upgrade_sock, self.config.upgrade_timeout);
        let mut inheritance = options.upgrade.then_some(()).map(wait).transpose().map_err(RunError::Start)?;
        let served = run::serve(self, options, program, early, &mut inheritance);
        if let (Err(e), Some(inheritance)) = (&served, inheritance) {
            inheritance.refuse(&e.to_string());
        }
        served
    }

    /// Run in this process, beside whatever else it does, until what is returned is dropped.
    ///
    /// # Errors
    /// Why it could not start; nothing is left half started.
    pub(crate) fn start(self) -> Result<Running, RunError> {
        if self.config.server.daemon {
            return Err(RunError::Start("'daemon' is for a process of its own: leave it out here".to_owned()));
        }
        let mistakes = self.examine();
        if !mistakes.is_empty() {
            return Err(self.error(mistakes).into());
        }
        Running::start(self)
    }
}

/// What keeps a valid configuration from being used on this machine, now.
fn surroundings(config: &Config) -> Vec<Mistake> {
    [config::environment(config), front::examine(config)].concat()
}

impl From<ListenError> for RunError {
    fn from(e: ListenError) -> Self {
        RunError::Listen { address: e.address.to_string(), source: e.source }
    }
}
