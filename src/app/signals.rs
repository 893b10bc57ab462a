//! What the process does when it gets a signal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use async_trait::async_trait;
use log::{info, warn};
use pingora_core::server::{ShutdownSignal, ShutdownSignalWatch};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::logs::Logs;
use super::stop::Stop;
use crate::admin::{Order, Orders, Successor};

/// TERM and INT stop gracefully, a second one at once. HUP reloads; USR1 opens log files
/// anew; USR2 hands over to the program that is there now, QUIT to a
/// process started with `-u`. No other ends it, and these two only when the other serves.
pub(super) struct Signals {
    pub(super) stop: Arc<Stop>,
    pub(super) orders: Orders,
    pub(super) logs: Logs,
    pub(super) early: Early,
}

/// Signals that come before there is a runtime that takes them, and whose default is to end the process.
#[derive(Clone, Default)]
pub(super) struct Early {
    hup: Arc<AtomicBool>,
    usr1: Arc<AtomicBool>,
    end: Arc<AtomicBool>,
}

impl Early {
    /// Remember HUP and USR1 from now on: whoever writes a file and tells the process, or moves its logs away, does not know how far
    /// it is.
    pub(super) fn catch() -> Self {
        let early = Early::default();
        remember([(SIGHUP, &early.hup), (SIGUSR1, &early.usr1)]);
        early
    }

    /// Remember TERM and INT, too: from now on there may be clients. Before that they end a start at once.
    pub(super) fn catch_the_end(&self) {
        remember([(SIGTERM, &self.end), (SIGINT, &self.end)]);
    }
}

fn remember(signals: [(i32, &Arc<AtomicBool>); 2]) {
    for (signal, came) in signals {
        if let Err(e) = signal_hook::flag::register(signal, Arc::clone(came)) {
            warn!("cannot listen for signals: {e}");
        }
    }
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
        // The streams are there ahead of this look: none is missed. HUP or USR1 in this very moment is done twice.
        if self.early.hup.load(Relaxed) {
            self.orders.leave(|reply| Order::Reload(None, reply));
        }
        if self.early.usr1.load(Relaxed) {
            self.logs.reopen().await;
        }
        let mut ends = self.early.end.load(Relaxed);
        if ends {
            // What the streams have of it is no second signal.
            for stream in [&mut term, &mut int] {
                tokio::select! { biased; _ = stream.recv() => {}, () = std::future::ready(()) => {} }
            }
        }
        while !ends {
            tokio::select! {
                _ = term.recv() => ends = true,
                _ = int.recv() => ends = true,
                // The default of each of these is to end the process.
                _ = hup.recv() => self.orders.leave(|reply| Order::Reload(None, reply)),
                _ = quit.recv() => self.orders.leave(|reply| Order::Upgrade(Successor::Waiting, reply)),
                _ = usr2.recv() => self.orders.leave(|reply| Order::Upgrade(Successor::Start, reply)),
                _ = usr1.recv() => self.logs.reopen().await,
                () = self.stop.handed_over() => tokio::select! {
                    () = self.stop.leave() => return ShutdownSignal::FastShutdown,
                    _ = term.recv() => ends = true,
                    _ = int.recv() => ends = true,
                }
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
