//! What is done to the whole process, one order after the other: reload, plan, upgrade.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use log::{error, info, warn};
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;
use tokio::sync::mpsc;

use super::file_watch::{EVERY, FileWatch, stamp};
use super::reload::Reloader;
use crate::admin::{Candidate, Order, Receipt, Refusal};
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
    watch: FileWatch,
}

impl Control {
    pub(super) fn new(orders: mpsc::Receiver<Order>, reloader: Reloader, metrics: Arc<Metrics>) -> Self {
        let mut watch = FileWatch::default();
        watch.loaded(reloader.config().file.as_deref().and_then(stamp));
        Control { desk: Mutex::new(Some(Desk { orders, reloader, metrics, watch })) }
    }
}

#[async_trait]
impl BackgroundService for Control {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut desk) = desk else { return };
        loop {
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

impl Desk {
    async fn execute(&mut self, order: Order) {
        // Nobody may wait for the answer any more, which is no reason not to act.
        match order {
            Order::Reload(expected, reply) => {
                let _ = reply.send(self.reload(expected.as_deref()).await);
            }
            Order::Plan(candidate, reply) => {
                let _ = reply.send(self.plan(candidate).await);
            }
            Order::Upgrade(reply) => {
                let _ = reply.send(Err(Refusal::Failed("an upgrade in place is not supported yet".to_owned())));
            }
        }
    }

    /// Load the file if it has changed.
    async fn look_at_file(&mut self) {
        let now = self.reloader.config().file.as_deref().and_then(stamp);
        if self.watch.look(now) {
            info!("the configuration file has changed");
            // What comes of it is logged.
            let _ = self.reload(None).await;
        }
    }

    async fn reload(&mut self, expected: Option<&Path>) -> Result<Receipt, Refusal> {
        let file = self.own_file(expected).inspect_err(|refusal| warn!("not reloaded: {refusal}"))?;
        // Ahead of reading: what is written meanwhile is seen as a change.
        self.watch.loaded(stamp(&file));
        let done = match Config::load(&file) {
            Ok(config) => self.reloader.reload(config).await,
            Err(e) => Err(Refusal::Config(e)),
        };
        self.metrics.process().reloaded(done.as_ref().ok().map(|receipt| receipt.generation));
        if let Err(refusal) = &done {
            error!("not reloaded, serving on as before: {refusal}");
        }
        done
    }

    async fn plan(&mut self, candidate: Candidate) -> Result<Receipt, Refusal> {
        let config = Config::parse(&candidate.text, Some(&candidate.file)).map_err(Refusal::Config)?;
        Ok(self.reloader.plan(config).await?.receipt)
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
