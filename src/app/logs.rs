//! Log files that somebody has moved away: they are opened anew under their names, as logrotate wants it.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use log::{error, info};
use tokio::task::spawn_blocking;

use super::RunOptions;
use crate::config::Config;
use crate::proxy::Generation;

/// The log files of the process.
pub(super) struct Logs {
    generation: Arc<ArcSwap<Generation>>,
    /// A daemon's, which pingora has opened.
    error_log: Option<PathBuf>,
}

impl Logs {
    /// Those that a process with this configuration has.
    pub(super) fn of(config: &Config, options: RunOptions, generation: Arc<ArcSwap<Generation>>) -> Self {
        let daemon = options.daemon || config.server.daemon;
        let error_log = config.server.error_log.as_ref().filter(|_| daemon);
        // A daemon changes its folder.
        let error_log = error_log.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.into()));
        Logs { generation, error_log }
    }

    /// Open them anew. Nothing is lost: what cannot be opened goes on where it is.
    pub(super) async fn reopen(&self) {
        let (generation, error_log) = (self.generation.load_full(), self.error_log.clone());
        let reopened = spawn_blocking(move || {
            let access_log = generation.access_log.as_ref().map_or(Ok(()), |log| log.reopen());
            let error_log = error_log.as_deref().map_or(Ok(()), reopen_stderr);
            [("access", access_log), ("error", error_log)]
        });
        let Ok(reopened) = reopened.await else { return };
        for (log, reopened) in &reopened {
            if let Err(e) = reopened {
                error!("the {log} log cannot be opened anew, and goes on in the old file: {e}");
            }
        }
        if reopened.iter().all(|(_, reopened)| reopened.is_ok()) {
            info!("log files are open anew");
        }
    }
}

fn reopen_stderr(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    Ok(rustix::stdio::dup2_stderr(file)?)
}
