//! What is asked of a whole process: another configuration, or another program. Whoever listens does one after the other.

use std::path::PathBuf;

use tokio::sync::{mpsc, oneshot};

use super::{Explanation, Question, Receipt};
use crate::config::{Config, ConfigError};

/// How many may wait. Each is one person's, or one signal's.
const WAITING: usize = 16;

/// Something to do, and whom to tell how it ended.
#[derive(Debug)]
pub enum Order {
    /// Load the file anew, which must be this one if one is given.
    Reload(Option<PathBuf>, Reply<Receipt>),
    /// Put this in the place of what is loaded: for a process that has no file.
    Load(Box<Config>, Reply<Receipt>),
    /// Say what a reload of this text would do.
    Plan(Candidate, Reply<Receipt>),
    /// Say what would become of a request.
    Explain(Question, Reply<Explanation>),
    /// Hand over to this successor.
    Upgrade(Successor, Reply<Handover>),
}

/// Who is to take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Successor {
    /// The program that is there now, to be started.
    Start,
    /// A process that somebody has started with `-u`.
    Waiting,
}

/// Whom to tell how it ended.
pub type Reply<T> = oneshot::Sender<Result<T, Refusal>>;

/// How an order ended, some time.
pub(crate) type Answer<T> = oneshot::Receiver<Result<T, Refusal>>;

/// A configuration that is not that of the process, or not yet.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// What messages call it; relative paths in it start from its folder.
    pub file: PathBuf,
    /// What stands in it.
    pub text: String,
}

/// Who serves now.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Handover {
    /// The process that has handed over.
    pub from: u32,
    /// The process that serves.
    pub to: u32,
    /// What was handed over, for people.
    pub what: String,
}

/// Why something was not done. The process serves on as before.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    /// The configuration has mistakes.
    #[error("{0}")]
    Config(ConfigError),
    /// It cannot be done to a process that runs.
    #[error("needs an upgrade: {}", .0.join("; "))]
    NeedsUpgrade(Vec<String>),
    /// What is asked makes no sense.
    #[error("{0}")]
    Wrong(String),
    /// Something else.
    #[error("{0}")]
    Failed(String),
}

/// Where orders are taken; clones are of the same place.
#[derive(Clone, Debug)]
pub struct Orders(mpsc::Sender<Order>);

impl Orders {
    /// A place, and the list of what is left there.
    pub fn new() -> (Self, mpsc::Receiver<Order>) {
        let (sender, orders) = mpsc::channel(WAITING);
        (Orders(sender), orders)
    }

    /// Leave an order, and wait until it is done or refused.
    ///
    /// # Errors
    /// Why it was not done.
    pub async fn place<T>(&self, order: impl FnOnce(Reply<T>) -> Order) -> Result<T, Refusal> {
        let done = self.ask(order)?;
        done.await.map_err(|_| Refusal::Failed("the process has stopped meanwhile".to_owned()))?
    }

    /// Leave an order. What is returned tells how it ended.
    ///
    /// # Errors
    /// That it could not be left.
    pub(crate) fn ask<T>(&self, order: impl FnOnce(Reply<T>) -> Order) -> Result<Answer<T>, Refusal> {
        let (reply, done) = oneshot::channel();
        let full = "too many orders wait already, or the process is stopping";
        self.0.try_send(order(reply)).map_err(|_| Refusal::Failed(full.to_owned()))?;
        Ok(done)
    }

    /// Leave an order for which nobody waits.
    pub fn leave<T>(&self, order: impl FnOnce(Reply<T>) -> Order) {
        let (reply, _) = oneshot::channel();
        // Whoever sends signals faster than they are done gets the last state all the same.
        let _ = self.0.try_send(order(reply));
    }
}
