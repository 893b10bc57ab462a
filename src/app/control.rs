//! What is done to the whole process, one order after the other: reload, plan, upgrade.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use log::error;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;
use tokio::sync::mpsc;

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
}

impl Control {
    pub(super) fn new(orders: mpsc::Receiver<Order>, reloader: Reloader, metrics: Arc<Metrics>) -> Self {
        Control { desk: Mutex::new(Some(Desk { orders, reloader, metrics })) }
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

    async fn reload(&mut self, expected: Option<&Path>) -> Result<Receipt, Refusal> {
        let done = match self.own_file(expected) {
            Ok(file) => match Config::load(&file) {
                Ok(config) => self.reloader.reload(config).await,
                Err(e) => Err(Refusal::Config(e)),
            },
            Err(refusal) => Err(refusal),
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
