//! What is done to the whole process, one order after the other: reload, plan, upgrade.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use log::{error, info, warn};
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::explain::explain;
use super::file_watch::{EVERY, FileWatch, Stamp, stamp};
use super::reload::Reloader;
use super::stop::Stop;
use super::systemd;
use super::upgrade::{HandOver, How, Program, Ready, hand_over};
use crate::admin::{Candidate, Explanation, Handover, Order, Question, Receipt, Refusal, Successor, pools};
use crate::config::Config;
use crate::metrics::Metrics;

/// Takes orders.
pub(super) struct Control {
    desk: Mutex<Option<Desk>>,
}

/// Everything that an order needs.
struct Desk {
    orders: mpsc::Receiver<Order>,
    reloader: Reloader,
    metrics: Arc<Metrics>,
    stop: Arc<Stop>,
    program: Program,
    watch: FileWatch<Stamps>,
    served: bool,
}

impl Control {
    pub(super) fn new(
        orders: mpsc::Receiver<Order>,
        reloader: Reloader,
        metrics: Arc<Metrics>,
        stop: Arc<Stop>,
        program: Program,
    ) -> Self {
        let mut watch = FileWatch::default();
        watch.loaded(stamps(&reloader));
        Control { desk: Mutex::new(Some(Desk { orders, reloader, metrics, stop, program, watch, served: false })) }
    }
}

#[async_trait]
impl BackgroundService for Control {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut desk) = desk else { return };
        // Another process is in charge when this one has served.
        while !desk.served {
            tokio::select! {
                // A stopping process does not change any more. Whoever waits is told by the end of the channel.
                _ = shutdown.changed() => return,
                order = desk.orders.recv() => match order {
                    Some(order) => desk.execute(order).await,
                    None => return,
                },
                () = tokio::time::sleep(EVERY), if desk.reloader.config().watch => desk.look_at_file().await,
            }
        }
    }
}

/// Of the configuration's file, and of those that filters were made from.
type Stamps = Vec<Option<Stamp>>;

/// `None` while the configuration's file is not there.
fn stamps(reloader: &Reloader) -> Option<Stamps> {
    let own = reloader.config().file.as_deref().and_then(stamp)?;
    let filters = reloader.generation();
    let files = filters.filters.all().flat_map(|made| made.filter.files());
    Some(std::iter::once(Some(own)).chain(files.map(|path| stamp(&path))).collect())
}

impl Desk {
    async fn execute(&mut self, order: Order) {
        // Nobody may wait for the answer any more, which is no reason not to act.
        match order {
            Order::Reload(expected, reply) => {
                let _ = reply.send(self.reload(expected.as_deref()).await);
            }
            Order::Load(config, reply) => {
                let _ = reply.send(self.reloader.reload(*config).await);
            }
            Order::Plan(candidate, reply) => {
                let _ = reply.send(self.plan(candidate).await);
            }
            Order::Explain(question, reply) => {
                let _ = reply.send(self.explain(&question));
            }
            Order::Upgrade(successor, reply) => {
                let done = self.upgrade(successor).await;
                let serves = done.as_ref().ok().map(|handover| handover.to);
                let _ = reply.send(done);
                if let Some(successor) = serves {
                    self.stop.hand_over(successor);
                    self.reloader.rest();
                    self.served = true;
                }
            }
        }
    }

    /// Load the file if it has changed.
    async fn look_at_file(&mut self) {
        if self.watch.look(stamps(&self.reloader)) {
            info!("the configuration file has changed, or a file of one of its filters");
            // What comes of it is logged.
            let _ = self.reload(None).await;
        }
    }

    async fn reload(&mut self, expected: Option<&Path>) -> Result<Receipt, Refusal> {
        let file = self.own_file(expected).inspect_err(|refusal| warn!("not reloaded: {refusal}"))?;
        // Ahead of reading: what is written meanwhile is seen as a change.
        self.watch.loaded(stamps(&self.reloader));
        systemd::reloading();
        let done = match Config::load(&file) {
            Ok(config) => self.reloader.reload(config).await,
            Err(e) => Err(Refusal::Config(self.reloader.explained(e))),
        };
        if done.is_ok() {
            // Other filters may have other files.
            self.watch.loaded(stamps(&self.reloader));
        }
        self.metrics.process().reloaded(done.as_ref().ok().map(|receipt| receipt.generation));
        systemd::ready();
        if let Err(refusal) = &done {
            error!("not reloaded, serving on as before: {refusal}");
        }
        done
    }

    async fn plan(&mut self, candidate: Candidate) -> Result<Receipt, Refusal> {
        let config = Config::parse(&candidate.text, Some(&candidate.file));
        let config = config.map_err(|e| Refusal::Config(self.reloader.explained(e)))?;
        Ok(self.reloader.plan(config).await?.receipt)
    }

    fn explain(&self, question: &Question) -> Result<Explanation, Refusal> {
        let pools = pools(&self.reloader.generation());
        explain(self.reloader.config(), Some(&pools), question).map_err(Refusal::Wrong)
    }

    async fn upgrade(&mut self, successor: Successor) -> Result<Handover, Refusal> {
        let done = self.hand_over(successor).await;
        match &done {
            Ok(handover) => info!("process {} serves now: {}", handover.to, handover.what),
            Err(why) => {
                self.metrics.process().upgraded(false);
                error!("not upgraded, serving on as before: {why}");
            }
        }
        done.map_err(Refusal::Failed)
    }

    async fn hand_over(&self, successor: Successor) -> Result<Handover, String> {
        let config = self.reloader.config();
        let pools: Vec<_> = self.reloader.generation().pools.iter().map(|pool| pool.save()).collect();
        let backends: usize = pools.iter().map(|pool| pool.backends.len()).sum();
        let what = HandOver {
            sockets: self.stop.sockets().map_err(|e| e.to_string())?,
            pools,
            tickets: self.stop.tickets(),
            upgrade_sock: self.program.resolve(&config.server.upgrade_sock),
            limit: config.upgrade_timeout,
        };
        let how = match successor {
            Successor::Start => How::Start(self.program.clone()),
            Successor::Waiting => How::Waiting,
        };
        let ready = spawn_blocking(move || hand_over(what, how)).await.map_err(|e| e.to_string())??;
        let Ready { pid, adopted, opened, closed } = ready;
        let what =
            format!("{adopted} sockets handed over, {opened} opened, {closed} closed; {backends} backends known");
        Ok(Handover { from: std::process::id(), to: pid, what })
    }

    /// The file that the process runs, which must be the one that is `expected`: to take any other would let whoever reaches the
    /// admin address have this process read and write what it may not itself.
    fn own_file(&self, expected: Option<&Path>) -> Result<PathBuf, Refusal> {
        let Some(file) = self.reloader.config().file.clone() else {
            let why = "this process runs without a file: there is nothing to load anew";
            return Err(Refusal::Failed(why.to_owned()));
        };
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        match expected {
            Some(expected) if real(expected) != real(&file) => {
                let (ours, theirs) = (file.display(), expected.display());
                Err(Refusal::Failed(format!("this process runs {ours}, not {theirs}: nothing was loaded")))
            }
            _ => Ok(file),
        }
    }
}
