//! From a configuration to a process that serves: its pools, its sockets, its services, in this order.

use std::sync::Arc;

use arc_swap::ArcSwap;
use log::info;
use pingora_core::server::configuration::{Opt, ServerConf};
use pingora_core::server::{RunArgs, Server, ShutdownSignalWatch};
use pingora_core::services::background::background_service;
use pingora_proxy::http_proxy;
use tokio::sync::{mpsc, watch};

use super::admin_service::{AdminPort, AdminService};
use super::build_pool::Tools;
use super::certificates::CertificateWatch;
use super::checks::Checks;
use super::control::Control;
use super::handed::Handed;
use super::listen::Socket;
use super::listeners::{Listeners, ListenersService};
use super::logs::Logs;
use super::reload::{Live, Reloader};
use super::signals::{Early, Signals};
use super::stop::{Stop, Times};
use super::upgrade::{Inheritance, Program, Succession};
use super::{App, MAX_TRIES, RunError, RunOptions, build, open_files};
use crate::admin::{Admin, Order, Orders};
use crate::config::{Config, ListenAddress};
use crate::front::Front;
use crate::metrics::Metrics;
use crate::pool::{Keepers, PoolService};
use crate::proxy::{Generation, Proxy, Traffic};

/// Serve until a signal ends it. What was inherited is left there until nothing can go wrong any more.
///
/// # Errors
/// Why it cannot; nothing is left half started.
pub(super) fn serve(
    app: App,
    options: RunOptions,
    program: Program,
    early: Early,
    inheritance: &mut Option<Inheritance>,
) -> Result<(), RunError> {
    let handed = Handed::take(inheritance);
    let prepared = prepare(app, options, program, handed, inheritance)?;
    let logs = Logs::of(&prepared.config, options, Arc::clone(&prepared.generation));
    let signals = Signals { stop: Arc::clone(&prepared.stop), orders: prepared.orders.clone(), logs, early };
    signals.early.catch_the_end();
    prepared.run(signals);
    Ok(())
}

/// Ready to run: everything that can go wrong has not.
pub(super) struct Prepared {
    server: Server,
    config: Config,
    pub(super) orders: Orders,
    pub(super) stop: Arc<Stop>,
    pub(super) generation: Arc<ArcSwap<Generation>>,
    pub(super) metrics: Arc<Metrics>,
    /// Every bound address, that of the admin pages last.
    pub(super) addresses: Vec<ListenAddress>,
    /// Turns true when the listeners accept.
    pub(super) serving: watch::Receiver<bool>,
}

impl Prepared {
    /// Run until `end` says so.
    pub(super) fn run(self, end: impl ShutdownSignalWatch + 'static) {
        self.server.run(RunArgs { shutdown_signal: Box::new(end) });
        if let Some(log) = &self.generation.load().access_log {
            log.flush();
        }
    }
}

/// Build what `app` describes, have its sockets, and get its services ready.
///
/// # Errors
/// The same as [`serve`]'s.
pub(super) fn prepare(
    app: App,
    options: RunOptions,
    program: Program,
    mut handed: Handed,
    inheritance: &mut Option<Inheritance>,
) -> Result<Prepared, RunError> {
    let conf = server_conf(&app.config.server).map_err(RunError::Start)?;
    // Not pingora's upgrade: it loses traffic when anything goes wrong.
    let mut server = Server::new_with_opt_and_conf(Opt { daemon: options.daemon, ..Opt::default() }, conf);
    let serving = Serving::build(&app)?;
    let (listeners, service) = serving.listeners(&server);
    let shown = Arc::new(ArcSwap::from_pointee(Vec::new()));
    handed.restore(&serving.generation.load(), &listeners);
    let admin = handed.bind(&app.config, &listeners)?;
    let addresses =
        listeners.addresses().into_iter().chain(admin.iter().map(|socket| socket.address.clone())).collect();

    open_files::tell(&app.config.limits);
    let (orders, ordered) = Orders::new();
    let stopping = watch::Sender::new(false);
    let pools = PoolService::new(serving.generation.load().pools.clone());
    let keepers = pools.keepers();
    let admin =
        admin.map(|socket| serving.admin(socket, &listeners, &pools, &stopping, (&orders, &shown))).transpose()?;
    let (admin_service, admin) = admin.unzip();
    let (ready, accepts) = (handed.ready(), service.serving());

    let succession = inheritance.take().map(|it| it.succession(ready, accepts.clone(), Arc::clone(&serving.metrics)));
    add_services(&mut server, pools, service, admin_service, succession);
    let stop = Stop::new(listeners.clone(), admin, Arc::clone(&serving.traffic), stopping, Times::of(&app.config));
    let stop = Arc::new(stop);
    let (generation, metrics) = (Arc::clone(&serving.generation), Arc::clone(&serving.metrics));
    let certificates = CertificateWatch::new(listeners.clone(), Arc::clone(&metrics));
    server.add_service(background_service("certificates", certificates));
    let config = app.config.clone();
    let live = serving.live(keepers, listeners, shown, Arc::clone(&stop));
    server.add_service(background_service("control", control(app, live, ordered, program)));
    Ok(Prepared { server, config, orders, stop, generation, metrics, addresses, serving: accepts })
}

/// What serves, each part after those that it has to wait for.
fn add_services(
    server: &mut Server,
    pools: PoolService,
    listeners: ListenersService,
    admin: Option<AdminService>,
    succession: Option<Succession>,
) {
    let pools = server.add_service(background_service("pools", pools));
    let listeners = server.add_service(listeners);
    // Listeners open when every backend has been probed once: no client is turned away for a process that starts.
    listeners.add_dependency(&pools);
    let admin = admin.map(|service| server.add_service(service));
    if let Some(succession) = succession {
        let succession = server.add_service(background_service("succession", succession));
        succession.add_dependency(&pools);
        // And not before the process before says so, which may stay otherwise.
        listeners.add_dependency(&succession);
        admin.inspect(|service| service.add_dependency(&succession));
    }
}

/// What serves.
struct Serving {
    generation: Arc<ArcSwap<Generation>>,
    metrics: Arc<Metrics>,
    checks: Checks,
    traffic: Arc<Traffic>,
}

impl Serving {
    fn build(app: &App) -> Result<Self, RunError> {
        let metrics = Arc::new(Metrics::new().map_err(|e| RunError::Start(e.to_string()))?);
        let mut checks = Checks::new(app.config.server.ca_file.as_deref());
        let mut tools = Tools { registry: &app.registry, metrics: &metrics, checks: &mut checks };
        let generation = build::build(&app.config, &mut tools).map_err(|mistakes| app.error(mistakes))?;
        let generation = Arc::new(ArcSwap::from_pointee(generation));
        Ok(Serving { generation, metrics, checks, traffic: Arc::default() })
    }

    fn listeners(&self, server: &Server) -> (Listeners, ListenersService) {
        let proxy = http_proxy(&server.configuration, Proxy::new(Arc::clone(&self.generation)));
        let (generation, traffic) = (Arc::clone(&self.generation), Arc::clone(&self.traffic));
        let front = Front::new(proxy, generation, traffic, open_files::clients());
        Listeners::new(front, Arc::clone(&self.metrics))
    }

    fn admin(
        &self,
        socket: Socket,
        listeners: &Listeners,
        pools: &PoolService,
        stopping: &watch::Sender<bool>,
        (orders, shown): (&Orders, &Arc<ArcSwap<Vec<String>>>),
    ) -> Result<(AdminService, AdminPort), RunError> {
        info!("admin on {}", socket.address);
        let mut addresses: Vec<String> = listeners.addresses().iter().map(ToString::to_string).collect();
        addresses.push(socket.address.to_string());
        shown.store(Arc::new(addresses));
        let (generation, metrics) = (Arc::clone(&self.generation), Arc::clone(&self.metrics));
        let (settled, stopping) = (pools.settled(), stopping.subscribe());
        let admin = Admin::new(generation, metrics, settled, stopping, Arc::clone(shown), orders.clone());
        AdminService::new(admin, socket).map_err(|e| RunError::Start(e.to_string()))
    }

    fn live(
        self,
        keepers: Keepers,
        listeners: Listeners,
        addresses: Arc<ArcSwap<Vec<String>>>,
        stop: Arc<Stop>,
    ) -> Live {
        let Serving { generation, metrics, checks, .. } = self;
        Live { generation, keepers, listeners, addresses, stop, metrics, checks }
    }
}

fn control(app: App, live: Live, orders: mpsc::Receiver<Order>, program: Program) -> Control {
    let mut config = app.config;
    // A daemon changes its folder, and a reload comes after that.
    config.file = config.file.map(|file| std::path::absolute(&file).unwrap_or(file));
    let (metrics, stop) = (Arc::clone(&live.metrics), Arc::clone(&live.stop));
    Control::new(orders, Reloader::new(config, app.registry, live), metrics, stop, program)
}

/// A copy of the configuration's part for pingora, which wants one of its own and cannot clone it.
fn server_conf(configured: &ServerConf) -> Result<ServerConf, String> {
    let copy = serde_json::to_value(configured).and_then(serde_json::from_value);
    let mut conf: ServerConf = copy.map_err(|e| e.to_string())?;
    // Attempts are ours to count; this one of pingora's only ends what never ends.
    conf.max_retries = MAX_TRIES;
    Ok(conf)
}
