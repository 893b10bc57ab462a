//! What the process does when it gets a signal.

use std::sync::Arc;

use async_trait::async_trait;
use log::{info, warn};
use pingora_core::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::stop::Stop;

/// TERM and INT stop gracefully, a second one at once. No other ends it.
pub(super) struct Signals {
    pub(super) stop: Arc<Stop>,
    /// Where a process started with `-u` waits.
    pub(super) upgrade_sock: String,
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    /// Pingora is told nothing of a graceful end: it would close every listener in the same moment, and sleep through its
    /// whole grace period even with nothing to do, deaf to a second signal.
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
                _ = quit.recv() => warn!("QUIT: no process started with -u waits on {}, serving on", self.upgrade_sock),
                // The default of each of these is to end the process.
                _ = hup.recv() => warn!("HUP: a reload is not supported yet, serving on as before"),
                _ = usr1.recv() => warn!("USR1: log files are not reopened yet, serving on as before"),
                _ = usr2.recv() => warn!("USR2: an upgrade in place is not supported yet, serving on as before"),
            }
        }
        tokio::select! {
            () = self.stop.stop() => {}
            _ = term.recv() => info!("stopped at once: a second signal"),
            _ = int.recv() => info!("stopped at once: a second signal"),
        }
        ShutdownSignal::FastShutdown
    }
}

fn listen(kind: SignalKind) -> Option<Signal> {
    signal(kind).map_err(|e| warn!("cannot listen for signals: {e}")).ok()
}
