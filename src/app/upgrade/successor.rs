//! The process that takes another's place: waits for it, takes what it gives, and serves when it is ready and told to.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use log::{error, info, warn};
use pingora_core::server::ShutdownWatch;
use pingora_core::services::ServiceReadyNotifier;
use pingora_core::services::background::BackgroundService;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::wire::Wire;
use super::{Answer, Ready, Secret, VERSION, Word};
use crate::app::listen::{self, Socket};
use crate::config::ListenAddress;
use crate::front::SavedKeys;
use crate::metrics::Metrics;
use crate::pool::{SavedPool, go_on_with};

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What the process has been given that this one takes the place of.
pub(in crate::app) struct Inheritance {
    /// Its sockets, as its configuration wrote them.
    pub(in crate::app) sockets: Vec<Socket>,
    /// What it knows of its backends.
    pub(in crate::app) pools: Vec<SavedPool>,
    /// What it has made session tickets with.
    pub(in crate::app) tickets: SavedKeys,
    stderr: Option<OwnedFd>,
    wire: Wire,
    pid: u32,
}

impl Inheritance {
    /// Wait until a process hands over.
    ///
    /// # Errors
    /// That none does within that time.
    pub(in crate::app) fn wait(upgrade_sock: &str, limit: Duration) -> Result<Self, String> {
        let deadline = Instant::now() + limit;
        let broken = |e: io::Error| format!("the process to take over from cannot be understood: {e}");
        let mut wire = meet(Path::new(upgrade_sock), deadline, limit)?;
        wire.send(&Word::Hello { version: VERSION, pid: std::process::id() }).map_err(broken)?;
        let offer = match wire.receive().map_err(broken)? {
            Answer::Offer(offer) if offer.version == VERSION => offer,
            other => return Err(format!("the process to take over from speaks another version: {other:?}")),
        };
        let files = wire.receive_files(offer.listeners.len() + usize::from(offer.stderr)).map_err(broken)?;
        let mut files = files.into_iter();
        let stderr = if offer.stderr { files.next() } else { None };
        let sockets: io::Result<_> = files.zip(&offer.listeners).map(|(file, written)| adopt(file, written)).collect();
        let sockets = sockets.map_err(broken)?;
        if let Some(Secret(secret)) = offer.secret {
            go_on_with(secret);
        }
        let pools = offer.pools();
        Ok(Inheritance { sockets, pools, tickets: offer.tickets, stderr, wire, pid: offer.pid })
    }

    /// Say why it cannot be taken over.
    pub(in crate::app) fn refuse(mut self, why: &str) {
        // It finds out by our end otherwise.
        let _ = self.wire.send(&Word::Failed { why: why.to_owned() });
    }

    /// What is left to do when everything is built.
    pub(in crate::app) fn succession(
        self,
        ready: Ready,
        serving: watch::Receiver<bool>,
        metrics: Arc<Metrics>,
    ) -> Succession {
        Succession { heir: Mutex::new(Some((self, ready))), serving, metrics }
    }
}

/// Wait for the other at the place where both know.
fn meet(place: &Path, deadline: Instant, limit: Duration) -> Result<Wire, String> {
    let failed = |e: io::Error| format!("cannot wait on {}: {e}", place.display());
    let listener = listen::bind_unix(place).map_err(failed)?;
    fs::set_permissions(place, Permissions::from_mode(0o600)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    info!("waiting on {} for a process to take over from", place.display());
    let met = loop {
        match listener.accept() {
            Ok((stream, _)) => break Wire::new(stream, deadline).map_err(failed),
            Err(e) if e.kind() != io::ErrorKind::WouldBlock => break Err(failed(e)),
            Err(_) if Instant::now() >= deadline => {
                break Err(format!("no process has handed over on {} within {limit:?}", place.display()));
            }
            Err(_) => thread::sleep(LOOK_EVERY),
        }
    };
    // Nobody else is to come, and nothing to be left.
    let _ = fs::remove_file(place);
    met
}

/// A socket of the other, under the name that it has in the other's configuration.
fn adopt(file: OwnedFd, written: &str) -> io::Result<Socket> {
    let mut socket = Socket::adopt(file)?;
    match written.strip_prefix("unix:") {
        Some(path) => socket.written = ListenAddress::Unix(path.into()),
        None => socket.written = written.parse().map_or(socket.address.clone(), ListenAddress::Tcp),
    }
    Ok(socket)
}

/// Tells the predecessor that all is ready, and lets listeners open when it says so.
pub(in crate::app) struct Succession {
    heir: Mutex<Option<(Inheritance, Ready)>>,
    serving: watch::Receiver<bool>,
    metrics: Arc<Metrics>,
}

#[async_trait]
impl BackgroundService for Succession {
    async fn start_with_ready_notifier(&self, _: ShutdownWatch, go: ServiceReadyNotifier) {
        let heir = self.heir.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((mut heir, mut ready)) = heir else { return };
        // Now, and not when it was built: a daemon has become another process since.
        ready.pid = std::process::id();
        let told = spawn_blocking(move || {
            heir.wire.send(&Word::Ready(ready))?;
            match heir.wire.receive()? {
                // We may have slept, and the other may have given us up.
                Answer::Go if heir.wire.waits() => Ok(heir),
                Answer::Go => Err(io::ErrorKind::UnexpectedEof.into()),
                Answer::Offer(_) => Err(io::Error::other("it said something else")),
            }
        });
        let mut heir = match told.await {
            Ok(Ok(heir)) => heir,
            // It serves on: two of us would be one too many.
            failed => {
                let why = failed.map(|failed| failed.err());
                error!("ready, but the process to take over from does not let go: {why:?}");
                std::process::exit(1);
            }
        };
        go.notify_ready();
        let mut serving = self.serving.clone();
        // An error would be the end of the listeners, and of the process.
        let _ = serving.wait_for(|serving| *serving).await;
        self.metrics.process().upgraded(true);
        let pid = heir.pid;
        info!("serving in the place of process {pid}");
        if let Some(stderr) = heir.stderr.take()
            && let Err(e) = rustix::stdio::dup2_stderr(stderr)
        {
            warn!("the error log still goes by way of process {pid}: {e}");
        }
        if !matches!(spawn_blocking(move || heir.wire.send(&Word::Serving)).await, Ok(Ok(()))) {
            error!("process {pid} has given us up in this moment, and serves on");
            std::process::exit(1);
        }
    }
}
