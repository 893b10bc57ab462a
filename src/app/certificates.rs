//! Certificates that are renewed are served without a reload, and those that are not are spoken of in time.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use log::{error, info, warn};
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::file_watch::{EVERY, FileWatch, Stamp, stamp};
use super::files;
use super::listeners::Listeners;
use crate::config::Listener;
use crate::front::Acceptor;
use crate::metrics::Metrics;

/// How often people are told of certificates that come to their end.
const REMIND_EVERY: Duration = Duration::from_secs(24 * 3600);

/// As many as there are files.
type Stamps = Vec<Option<Stamp>>;

/// The certificates of a listener, and their files.
pub(super) struct Watched {
    /// The listener's address.
    listener: String,
    acceptor: Arc<Acceptor>,
    files: Vec<PathBuf>,
    watch: Mutex<FileWatch<Stamps>>,
}

impl Watched {
    /// Those of a listener whose files had these stamps before they were read.
    pub(super) fn new(listener: &str, acceptor: Arc<Acceptor>, stamps: Stamps) -> Self {
        let mut watch = FileWatch::default();
        watch.loaded(Some(stamps));
        Watched { listener: listener.to_owned(), files: acceptor.files(), acceptor, watch: Mutex::new(watch) }
    }

    /// The stamps of a listener's files.
    pub(super) fn stamps(listener: &Listener) -> Stamps {
        files::named(listener).map(|path| stamp(&path)).collect()
    }

    /// Have metrics show them.
    pub(super) fn show(&self, metrics: &Metrics) {
        let all = self.acceptor.expiries();
        metrics.tls().serves(&self.listener, all.iter().map(|(path, until)| (path.as_str(), *until)));
    }

    /// Say which of them come to their end.
    pub(super) fn warn(&self) {
        for warning in self.acceptor.warnings() {
            warn!("listener {}: {warning}", self.listener);
        }
    }

    /// Take them up if their files have changed, and have stopped changing.
    fn look(&self, metrics: &Metrics) {
        let now: Stamps = self.files.iter().map(|path| stamp(path)).collect();
        {
            let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
            if !watch.look(Some(now.clone())) {
                return;
            }
            // Whether or not they are any good: what is not is said once.
            watch.loaded(Some(now));
        }
        let renewal = self.acceptor.renew();
        let listener = &self.listener;
        for path in &renewal.taken {
            info!("listener {listener}: the certificate {path} has changed, and is served from now on");
        }
        for why in &renewal.failed {
            error!("listener {listener}: serving on with the certificate of before: {why}");
        }
        metrics.tls().renewed(listener, renewal.failed.is_empty());
        self.show(metrics);
        if !renewal.taken.is_empty() {
            self.warn();
        }
    }
}

/// Looks at the files of all listeners.
pub(super) struct CertificateWatch {
    listeners: Listeners,
    metrics: Arc<Metrics>,
}

impl CertificateWatch {
    pub(super) fn new(listeners: Listeners, metrics: Arc<Metrics>) -> Self {
        CertificateWatch { listeners, metrics }
    }
}

#[async_trait]
impl BackgroundService for CertificateWatch {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut reminded = Instant::now();
        loop {
            tokio::select! {
                _ = shutdown.changed() => return,
                () = sleep(EVERY) => {}
            }
            let remind = reminded.elapsed() >= REMIND_EVERY;
            if remind {
                reminded = Instant::now();
            }
            let (all, metrics) = (self.listeners.certificates(), Arc::clone(&self.metrics));
            if all.is_empty() {
                continue;
            }
            // Files may be far away.
            let looked = spawn_blocking(move || {
                for certificates in all {
                    certificates.look(&metrics);
                    if remind {
                        certificates.warn();
                    }
                }
            });
            if let Err(e) = looked.await {
                error!("certificates could not be looked at: {e}");
            }
        }
    }
}
