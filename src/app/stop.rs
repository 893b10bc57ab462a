//! Signals, and an end that comes as soon as nothing is in flight.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use log::{info, warn};
use pingora_core::server::{ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use pingora_core::services::background::BackgroundService;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::admin::{Order, Orders};
use crate::proxy::Generation;

/// How often a stopping process looks whether it is done.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How many looks in a row must find nothing: a request whose header is being read does not count yet.
const QUIET_LOOKS: u32 = 4;

/// TERM and INT stop gracefully, a second one at once; QUIT hands over to a process started with `-u`. No other ends it.
pub(super) struct Signals {
    /// Where a process started with `-u` waits.
    pub(super) upgrade_sock: String,
    pub(super) orders: Orders,
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let (Some(mut term), Some(mut int), Some(mut quit), Some(mut hup), Some(mut usr1), Some(mut usr2)) = (
            listen(SignalKind::terminate()),
            listen(SignalKind::interrupt()),
            listen(SignalKind::quit()),
            listen(SignalKind::hangup()),
            listen(SignalKind::user_defined1()),
            listen(SignalKind::user_defined2()),
        ) else {
            return std::future::pending().await;
        };
        loop {
            tokio::select! {
                _ = term.recv() => break,
                _ = int.recv() => break,
                _ = quit.recv() => {
                    if successor_waits(&self.upgrade_sock) {
                        return ShutdownSignal::GracefulUpgrade;
                    }
                    warn!("QUIT: no process started with -u waits on {}, serving on", self.upgrade_sock);
                }
                // The default of each of these is to end the process.
                _ = hup.recv() => self.orders.leave(|reply| Order::Reload(None, reply)),
                _ = usr1.recv() => warn!("USR1: log files are not reopened yet, serving on as before"),
                _ = usr2.recv() => warn!("USR2: an upgrade in place is not supported yet, serving on as before"),
            }
        }
        info!("stopping: no new connections, what is in flight is finished");
        ShutdownSignal::GracefulTerminate
    }
}

/// Whether somebody listens there. Pingora would stop either way; and to connect would take the place of the hand-over.
fn successor_waits(upgrade_sock: &str) -> bool {
    /// `SO_ACCEPTCON`, as the kernel prints a socket's flags.
    const LISTENING: &str = "00010000";
    let sockets = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    sockets.lines().any(|line| {
        let mut fields = line.split_ascii_whitespace();
        fields.nth(3) == Some(LISTENING) && line.ends_with(&format!(" {upgrade_sock}"))
    })
}

fn listen(kind: SignalKind) -> Option<Signal> {
    signal(kind).map_err(|e| warn!("cannot listen for signals: {e}")).ok()
}

/// Ends a stopping process early. Pingora would sleep through its whole grace period, even with nothing to do, and deaf to
/// a second signal.
pub(super) struct Stop {
    generation: Arc<ArcSwap<Generation>>,
    stopping: watch::Sender<bool>,
}

#[async_trait]
impl BackgroundService for Stop {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        // An error means that nobody can ask for a stop any more: the process is at its end.
        if shutdown.wait_for(|stopping| *stopping).await.is_err() {
            return;
        }
        self.stopping.send_replace(true);
        tokio::select! {
            () = self.drained() => info!("stopped: nothing is in flight"),
            () = second_signal() => info!("stopped at once: a second signal"),
        }
        std::process::exit(0);
    }
}

impl Stop {
    pub(super) fn new(generation: Arc<ArcSwap<Generation>>) -> Self {
        Stop { generation, stopping: watch::Sender::new(false) }
    }

    /// Turns true when the process begins to stop.
    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    async fn drained(&self) {
        let mut quiet = 0;
        while quiet < QUIET_LOOKS {
            tokio::time::sleep(LOOK_EVERY).await;
            quiet = if self.in_flight() == 0 { quiet + 1 } else { 0 };
        }
    }

    fn in_flight(&self) -> usize {
        self.generation.load().in_flight.load(Relaxed)
    }
}

async fn second_signal() {
    let (Some(mut term), Some(mut int)) = (listen(SignalKind::terminate()), listen(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
