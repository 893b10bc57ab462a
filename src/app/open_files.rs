//! How many files, sockets among them, the process may have open.

use log::{info, warn};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Limits;

/// Have as many as the system lets us have: the limit that a shell gives, 1024, is one for programs that use `select`.
pub(super) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
        if let Err(e) = raised {
            warn!("the limit of open files stays at {:?}: {e}", limit.current);
        }
    }
}

/// How many clients may be connected: half of what may be open, for most need a backend's connection, too. To run out would
/// take these from clients that are served.
pub(super) fn clients() -> u64 {
    getrlimit(Resource::Nofile).current.map_or(u64::MAX, |files| (files / 2).max(1))
}

/// Say where that is less than the configuration asks for.
pub(super) fn tell(limits: &Limits) {
    let clients = clients();
    if limits.max_connections.is_none_or(|wanted| wanted > clients) && clients < u64::MAX {
        info!(
            "{clients} clients may be connected, half of the files that may be open (ulimit -n), not limits.max_connections"
        );
    }
}
