//! One listener that is open.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::certificates::Watched;
use super::listen::Socket;
use crate::config::{Listener, ListenerTls};
use crate::front::Rules;
use crate::proxy::Phase;

/// One listener that is open.
pub(super) struct Port {
    /// As the configuration has it.
    pub(super) listener: Listener,
    /// What its door goes by.
    pub(super) rules: Arc<ArcSwap<Rules>>,
    /// Its certificates, where it speaks TLS.
    pub(super) certificates: Option<Arc<Watched>>,
    /// As it is bound.
    pub(super) socket: Socket,
    pub(super) phase: watch::Sender<Phase>,
    /// Pingora's word that no more is accepted. Its end would be the same.
    pub(super) stop: watch::Sender<bool>,
}

/// Rules that are to be in force.
pub(super) struct New {
    pub(super) rules: Rules,
    pub(super) certificates: Option<Arc<Watched>>,
}

impl Port {
    /// Whether it can become what is wanted there, and its connections stay: whoever came in under what is asked of clients
    /// no more goes when the request under way is done.
    fn can_become(&self, wanted: &Listener) -> bool {
        self.listener.address == wanted.address && same_demands(self.listener.tls.as_ref(), wanted.tls.as_ref())
    }

    /// Be what is wanted for whoever comes from now on.
    pub(super) fn become_what(&mut self, wanted: Listener, new: New) {
        (self.listener, self.certificates) = (wanted, new.certificates);
        self.rules.store(Arc::new(new.rules));
    }

    /// As metrics and the log know it.
    pub(super) fn name(&self) -> String {
        self.socket.address.to_string()
    }

    pub(super) fn close(self, phase: Phase) {
        self.phase.send_replace(phase);
        self.stop.send_replace(true);
    }
}

/// Whether clients of one could have come in by the other.
fn same_demands(one: Option<&ListenerTls>, other: Option<&ListenerTls>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.clients == other.clients && one.min_version == other.min_version,
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// For each port the place of the listener that it is or can become: of several with the same address, which port 0 allows,
/// the one that is the same comes first.
pub(super) fn places(open: &[Port], wanted: &[Listener]) -> Vec<Option<usize>> {
    let mut places = vec![None; open.len()];
    let same: fn(&Port, &Listener) -> bool = |port, wanted| port.listener == *wanted;
    for fits in [same, Port::can_become] {
        for (number, port) in open.iter().enumerate() {
            if places[number].is_none() {
                let free = |place: &usize| !places.contains(&Some(*place));
                let fitting = wanted.iter().enumerate().filter(|(_, wanted)| fits(port, wanted));
                places[number] = fitting.map(|(place, _)| place).find(free);
            }
        }
    }
    places
}
