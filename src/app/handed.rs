//! What others have bound or known before: systemd, or the process whose place this one takes.

use log::warn;

use super::listen::{self, Socket};
use super::listeners::{ListenError, Listeners};
use super::systemd;
use super::upgrade::{Inheritance, Ready};
use crate::config::{Config, ListenAddress};
use crate::front::SavedKeys;
use crate::pool::SavedPool;
use crate::proxy::Generation;

/// What others have bound or known before.
#[derive(Default)]
pub(super) struct Handed {
    sockets: Vec<Socket>,
    pools: Vec<SavedPool>,
    tickets: SavedKeys,
    ready: Ready,
}

impl Handed {
    /// What a predecessor has left, or else systemd.
    pub(super) fn take(inheritance: &mut Option<Inheritance>) -> Self {
        let (mut sockets, pools, tickets) = match inheritance {
            Some(Inheritance { sockets, pools, tickets, .. }) => {
                (std::mem::take(sockets), std::mem::take(pools), std::mem::take(tickets))
            }
            None => (systemd::sockets(), Vec::new(), SavedKeys::default()),
        };
        // One whose file somebody has removed is of no use to anybody, and another can be bound in its place.
        sockets.retain(|socket| !socket.is_lost());
        Handed { sockets, pools, tickets, ready: Ready::default() }
    }

    /// What is known of backends goes to their pools, and what sessions are made with to the listeners.
    pub(super) fn restore(&mut self, generation: &Generation, listeners: &Listeners) {
        listeners.take_tickets(std::mem::take(&mut self.tickets));
        for saved in self.pools.drain(..) {
            if let Some(pool) = generation.pools.iter().find(|pool| pool.name() == saved.name) {
                pool.restore(saved);
            }
        }
    }

    /// Have every socket that the configuration wants: the listeners', and that of the admin pages.
    ///
    /// # Errors
    /// That one cannot be had.
    pub(super) fn bind(&mut self, config: &Config, listeners: &Listeners) -> Result<Option<Socket>, ListenError> {
        let handed = self.sockets.len();
        let admin = config.admin.as_ref().map(|admin| {
            let address = ListenAddress::Tcp(admin.address);
            match listen::take(&address, &mut self.sockets) {
                Some(socket) => Ok(socket),
                None => listen::bind(&address).map_err(|source| ListenError { address, source }),
            }
        });
        let admin = admin.transpose()?;
        // Last: they are logged, and nothing can go wrong any more.
        listeners.adopt(&config.listeners, &mut self.sockets)?;
        let wanted = config.listeners.len() + usize::from(admin.is_some());
        self.ready.adopted = handed - self.sockets.len();
        self.ready.opened = wanted - self.ready.adopted;
        self.ready.closed = self.sockets.len();
        Ok(admin)
    }

    /// What has become of it; what nobody wanted is closed.
    pub(super) fn ready(self) -> Ready {
        for unwanted in &self.sockets {
            warn!("closing {}, which was passed, and is no address of this configuration", unwanted.address);
        }
        self.ready
    }
}
