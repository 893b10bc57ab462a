//! TLS towards clients: rustls, without pingora's listener, which has no way to say what is said here.
//!
//! | file | does |
//! |---|---|
//! | `acceptor`, `outcome` | the handshake, and all that a listener asks for in it; how it ended |
//! | `load`, `certificates`, `expiry` | certificates: from files, by name, and until when |
//! | `tickets` | sessions that are gone on with |
//! | `stream` | the connection afterwards, as pingora sees it |

mod acceptor;
mod certificates;
mod expiry;
mod load;
mod outcome;
mod stream;
mod tickets;

use crate::config::{Config, Mistake, Position};

pub(crate) use acceptor::Acceptor;
pub(crate) use tickets::{SavedKeys, TicketKeys};

/// What keeps the TLS sides of listeners from being served on this machine, now.
pub(crate) fn examine(config: &Config) -> Vec<Mistake> {
    let sides = config.listeners.iter().enumerate().filter_map(|(i, listener)| Some((i, listener.tls.as_ref()?)));
    sides
        .flat_map(|(i, tls)| acceptor::examine(tls, &format!("listeners[{i}].tls")).err().unwrap_or_default())
        .collect()
}

/// What people should know of the certificates, which can be served.
pub(crate) fn warnings(config: &Config) -> Vec<Mistake> {
    let (mut warnings, now) = (Vec::new(), expiry::now());
    for (i, listener) in config.listeners.iter().enumerate() {
        let Some(tls) = &listener.tls else { continue };
        let key = format!("listeners[{i}].tls");
        for (n, pair) in acceptor::examine(tls, &key).unwrap_or_default().iter().enumerate() {
            if let Some(warning) = expiry::warning(pair, now) {
                let at = tls.certificates.get(n).map_or(Position::default(), |files| files.at.into());
                warnings.push(Mistake::new(at, format!("{key}.certificates[{n}].certificate"), warning));
            }
        }
    }
    warnings
}

#[cfg(test)]
mod tests;
