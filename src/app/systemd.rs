//! What systemd gives and is told, where it has started the process: sockets, and how the process is doing. Without systemd
//! all of this does nothing.

use std::os::fd::OwnedFd;
use std::time::Duration;

use listenfd::ListenFd;
use log::warn;
use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::listen::Socket;

/// What a successor must not take for meant for itself: these name the process that they are for.
pub(super) const OF_ONE_PROCESS: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// The sockets that systemd has passed.
pub(super) fn sockets() -> Vec<Socket> {
    let mut passed = ListenFd::from_env();
    let count = passed.len();
    let take = |number| {
        let tcp = passed.take_tcp_listener(number).map(|found| found.map(OwnedFd::from));
        tcp.or_else(|_| passed.take_unix_listener(number).map(|found| found.map(OwnedFd::from)))
    };
    let taken: Vec<_> = (0..count).map(take).collect();
    taken
        .into_iter()
        .filter_map(|taken| match taken.and_then(|found| found.map(Socket::adopt).transpose()) {
            Ok(socket) => socket,
            Err(e) => {
                warn!("a socket that systemd has passed is of no use: {e}");
                None
            }
        })
        .collect()
}

/// It serves.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// It loads its configuration anew; [`ready`] ends that.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(e) => warn!("systemd is not told of a reload: {e}"),
    }
}

/// It has begun to stop.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Another process is the service from now on.
pub(super) fn replaced_by(pid: u32) {
    tell(&[NotifyState::MainPid(pid)]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(states) {
        warn!("systemd cannot be told how the process is doing: {e}");
    }
}

/// Tells systemd that the process lives, as often as it wants to hear that.
pub(super) struct Watchdog(Option<Interval>);

impl Watchdog {
    pub(super) fn new() -> Self {
        let wanted = sd_notify::watchdog_enabled().filter(|every| !every.is_zero());
        Watchdog(wanted.map(|every| {
            // Half of that, as its manual recommends.
            let mut ticks = interval((every / 2).max(Duration::from_millis(1)));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        }))
    }

    /// Wait until it is time, and say so.
    pub(super) async fn turn(&mut self) {
        match &mut self.0 {
            Some(ticks) => {
                ticks.tick().await;
                tell(&[NotifyState::Watchdog]);
            }
            None => std::future::pending().await,
        }
    }
}
