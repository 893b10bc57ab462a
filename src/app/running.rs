//! An app inside a process that is somebody else's, as a test's: it serves on threads of its own until it is dropped. It
//! listens to no signals, and leaves the process as it was: its limits, its logger, its standard streams.

use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use log::warn;
use pingora_core::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::sync::{oneshot, watch};

use super::handed::Handed;
use super::run::{self, Prepared};
use super::stop::Stop;
use super::upgrade::Program;
use super::{App, RunError, RunOptions};
use crate::admin::{Order, Orders, Receipt, Refusal};
use crate::config::{Config, ListenAddress};
use crate::metrics::Metrics;
use crate::pool::FIRST_ROUND;
use crate::proxy::Generation;

/// How long it may take to begin: the first round of probes, and a machine that is busy.
const BEGIN_WITHIN: Duration = FIRST_ROUND.saturating_add(Duration::from_secs(10));
/// How long it may take until the last of its tasks is gone: each ends where it waits next.
const GONE_WITHIN: Duration = Duration::from_secs(5);
/// How often somebody looks who cannot be told.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// An app that serves. Its drop ends it: what is in flight is cut off, and its sockets are closed when that returns.
pub(crate) struct Running {
    serves: Option<Serves>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What serves.
struct Serves {
    addresses: Vec<ListenAddress>,
    generation: Arc<ArcSwap<Generation>>,
    metrics: Arc<Metrics>,
    serving: watch::Receiver<bool>,
    orders: Orders,
}

impl Running {
    /// Start `app`, and return when it accepts connections, which is when every backend has been probed once.
    ///
    /// # Errors
    /// Why it cannot; nothing is left of it.
    pub(super) fn start(app: App) -> Result<Self, RunError> {
        let (tell, told) = mpsc::sync_channel(1);
        let (end, ended) = oneshot::channel();
        let serve = move || serve(app, &tell, ended);
        let thread = thread::Builder::new().name("evenkeel".to_owned()).spawn(serve);
        let thread = thread.map_err(|e| RunError::Start(e.to_string()))?;
        let mut running = Running { serves: None, end: Some(end), thread: Some(thread) };
        let gone = || RunError::Start("its thread has panicked".to_owned());
        running.serves = Some(told.recv().map_err(|_| gone())??);
        let accepts = || running.serves.as_ref().is_some_and(|serves| *serves.serving.borrow());
        match wait(BEGIN_WITHIN, || accepts() || running.has_ended()) {
            true if accepts() => Ok(running),
            true => Err(gone()),
            false => Err(RunError::Start(format!("it has not begun to accept within {BEGIN_WITHIN:?}"))),
        }
    }

    fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Every bound address in the order of the configuration, that of the admin pages last.
    pub(crate) fn addresses(&self) -> &[ListenAddress] {
        self.serves.as_ref().map_or(&[], |serves| &serves.addresses)
    }

    /// What it serves now.
    pub(crate) fn generation(&self) -> Option<Arc<Generation>> {
        self.serves.as_ref().map(|serves| serves.generation.load_full())
    }

    /// Put `config` in the place of what it serves, and wait until that is done.
    ///
    /// # Errors
    /// Why not; it serves on as before.
    pub(crate) fn reload(&self, config: Config) -> Result<Receipt, Refusal> {
        let gone = || Refusal::Failed("it does not answer".to_owned());
        let orders = self.serves.as_ref().map(|serves| &serves.orders).ok_or_else(gone)?;
        let mut done = orders.ask(|reply| Order::Load(Box::new(config), reply))?;
        let mut answer = None;
        // Not by waiting for it: this may be called where that is forbidden, in somebody's runtime.
        wait(BEGIN_WITHIN, || {
            answer = done.try_recv().ok();
            answer.is_some() || self.has_ended()
        });
        answer.unwrap_or_else(|| Err(gone()))
    }

    /// What it counts.
    pub(crate) fn metrics(&self) -> Option<&Metrics> {
        self.serves.as_ref().map(|serves| &*serves.metrics)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.end.take());
        let left: Option<Weak<_>> = self.serves.take().map(|serves| Arc::downgrade(&serves.generation));
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            warn!("the thread of an app has panicked");
        }
        // Pingora does not wait for its runtimes, whose tasks have the sockets. All of them have this, too.
        if left.is_some_and(|left| !wait(GONE_WITHIN, || left.strong_count() == 0)) {
            warn!("an app that has ended is not gone after {GONE_WITHIN:?}: something goes on with what it was");
        }
    }
}

/// Wait until it is so; whether it was in time.
fn wait(limit: Duration, mut so: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while !so() {
        if began.elapsed() > limit {
            return false;
        }
        thread::sleep(LOOK_EVERY);
    }
    true
}

fn serve(app: App, tell: &SyncSender<Result<Serves, RunError>>, ended: oneshot::Receiver<()>) {
    let options = RunOptions::default();
    match run::prepare(app, options, Program::this(false), Handed::default(), &mut None) {
        Ok(prepared) => {
            let Prepared { addresses, generation, metrics, serving, stop, orders, .. } = &prepared;
            let (addresses, generation) = (addresses.clone(), Arc::clone(generation));
            let (metrics, serving, orders) = (Arc::clone(metrics), serving.clone(), orders.clone());
            let serves = Serves { addresses, generation, metrics, serving, orders };
            let end = End { stop: Arc::clone(stop), ended: Mutex::new(Some(ended)) };
            // Whoever has left wants no app any more, and `end` says so.
            let _ = tell.send(Ok(serves));
            prepared.run(end);
        }
        Err(e) => {
            let _ = tell.send(Err(e));
        }
    }
}

/// Says when the app is to end.
struct End {
    stop: Arc<Stop>,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

#[async_trait]
impl ShutdownSignalWatch for End {
    async fn recv(&self) -> ShutdownSignal {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = ended {
            // An error is the end, too: nobody holds the app any more.
            let _ = ended.await;
        }
        self.stop.close();
        ShutdownSignal::FastShutdown
    }
}
