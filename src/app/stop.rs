//! The end of a process: by a signal, or because a successor serves in its place.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use log::info;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::admin_service::AdminPort;
use super::listen::Socket;
use super::listeners::Listeners;
use super::systemd;
use crate::config::Config;
use crate::front::SavedKeys;
use crate::proxy::{Phase, Traffic};

/// How long requests in flight may take to finish when the configuration does not say. Pingora's own default is 300 s, more
/// than any supervisor waits before it kills.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// The same for those that a process still has that has handed over: nobody waits for it. As pingora's.
const HANDED_OVER_LIMIT: Duration = Duration::from_secs(300);

/// How often a stopping process looks whether it is done.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How many looks in a row must find nothing: a connection counts a moment after it was accepted.
const QUIET_LOOKS: u32 = 4;
/// How long connections without a request may take to close: what was answered last may still be on its way, and a client of
/// HTTP/2 is asked whether it has sent anything.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long clients of tunnels may take to say goodbye when time is up.
const GOODBYE: Duration = Duration::from_secs(2);

/// How long the steps of an end may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    /// From `/readyz`'s 503 until no more connections are accepted.
    delay: Duration,
    /// What is in flight when the process is told to stop.
    stop: Duration,
    /// What is in flight when a successor serves.
    handed_over: Duration,
}

impl Times {
    /// What a configuration says.
    pub(super) fn of(config: &Config) -> Self {
        let (graceful, grace) = (config.server.graceful_shutdown_timeout_seconds, config.server.grace_period_seconds);
        let seconds = |seconds: Option<u64>| seconds.map(Duration::from_secs);
        Times {
            delay: config.stop_delay,
            stop: seconds(graceful.or(grace)).unwrap_or(STOP_LIMIT),
            handed_over: seconds(grace).unwrap_or(HANDED_OVER_LIMIT),
        }
    }
}

/// Ends a process in good order.
pub(super) struct Stop {
    listeners: Listeners,
    admin: Mutex<Option<AdminPort>>,
    traffic: Arc<Traffic>,
    stopping: watch::Sender<bool>,
    handed_over: watch::Sender<bool>,
    times: ArcSwap<Times>,
}

impl Stop {
    pub(super) fn new(
        listeners: Listeners,
        admin: Option<AdminPort>,
        traffic: Arc<Traffic>,
        stopping: watch::Sender<bool>,
        times: Times,
    ) -> Self {
        let (admin, handed_over) = (Mutex::new(admin), watch::Sender::new(false));
        Stop { listeners, admin, traffic, stopping, handed_over, times: ArcSwap::from_pointee(times) }
    }

    /// Handles of every socket that is listened on, in the order in which they are taken: the admin pages' first.
    pub(super) fn sockets(&self) -> io::Result<Vec<Socket>> {
        let mut sockets = Vec::new();
        if let Some(admin) = &*self.admin.lock().unwrap_or_else(PoisonError::into_inner) {
            sockets.push(admin.socket()?);
        }
        sockets.extend(self.listeners.sockets()?);
        Ok(sockets)
    }

    /// What session tickets are made with.
    pub(super) fn tickets(&self) -> SavedKeys {
        self.listeners.tickets()
    }

    /// Take other times from now on.
    pub(super) fn set_times(&self, times: Times) {
        self.times.store(Arc::new(times));
    }

    /// Stop: say so, accept no more after a while, and return as soon as nothing is in flight, or the time is up.
    pub(super) async fn stop(&self) {
        let times = **self.times.load();
        self.stopping.send_replace(true);
        if !*self.handed_over.borrow() {
            // Afterwards another process is the service, and it does not stop.
            systemd::stopping();
        }
        if !times.delay.is_zero() {
            info!("stopping: accepting for another {:?}, for others to notice", times.delay);
            self.listeners.leave();
            sleep(times.delay).await;
        }
        info!("stopping: no new connections, what is in flight is finished");
        self.listeners.close(Phase::Ending);
        match timeout(times.stop, self.drained(LAST_WORDS)).await {
            Ok(()) => info!("stopped: nothing is in flight"),
            Err(_) => self.cut_off(times.stop),
        }
    }

    /// Accept no more, at once.
    pub(super) fn close(&self) {
        self.stopping.send_replace(true);
        self.listeners.close(Phase::Ending);
        self.close_admin();
    }

    fn close_admin(&self) {
        if let Some(admin) = self.admin.lock().unwrap_or_else(PoisonError::into_inner).take() {
            admin.close();
        }
    }

    /// This successor serves.
    pub(super) fn hand_over(&self, successor: u32) {
        systemd::replaced_by(successor);
        // Here, at once, and not by whoever waits for that: from now on this process is not to accept any more.
        self.listeners.close(Phase::Closing);
        self.close_admin();
        self.handed_over.send_replace(true);
    }

    /// Resolves when a successor serves.
    pub(super) async fn handed_over(&self) {
        let mut handed_over = self.handed_over.subscribe();
        // An error would be our own end.
        let _ = handed_over.wait_for(|handed_over| *handed_over).await;
    }

    /// A successor serves: return as soon as nothing is in flight, or the time is up.
    pub(super) async fn leave(&self) {
        let limit = self.times.load().handed_over;
        // Whoever has asked for it has to get the answer.
        sleep(LAST_WORDS).await;
        // Connections that are silent as well: each may carry a last request yet, and ends by its idle timeout.
        if timeout(limit, self.drained(Duration::MAX)).await.is_err() {
            self.listeners.close(Phase::Ending);
            if timeout(GOODBYE, self.drained(LAST_WORDS)).await.is_err() {
                return self.cut_off(limit);
            }
        }
        info!("ended: nothing is in flight");
    }

    fn cut_off(&self, limit: Duration) {
        info!("stopped after {limit:?}: {} requests in flight are cut off", self.traffic.requests());
    }

    /// Resolves when nothing is in flight, and no connection is left or nothing has come on any for so long.
    async fn drained(&self, silent: Duration) {
        let (mut quiet, mut since) = (0, Instant::now());
        while quiet < QUIET_LOOKS {
            sleep(LOOK_EVERY).await;
            if self.traffic.requests() > 0 {
                since = Instant::now();
            }
            let done = self.traffic.connections() == 0 || since.elapsed() >= silent;
            quiet = if done { quiet + 1 } else { 0 };
        }
    }
}
