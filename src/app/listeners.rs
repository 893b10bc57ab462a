//! The listeners of a process, which come and go while it runs.
//!
//! Pingora's services are fixed when it starts. So there is one of ours for all listeners, which runs for each address a
//! pingora service of its own, with its own socket and its own end. All of them share the threads, the proxy and the
//! connections to backends.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use log::{error, info};
use pingora_core::server::{ListenFds, ShutdownWatch};
use pingora_core::services::Service as PingoraService;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::certificates::Watched;
use super::listen::{self, Opening, Socket};
use super::port::{New, Port, places};
use super::systemd::{self, Watchdog};
use crate::config::{ListenAddress, Listener};
use crate::front::{Door, Front, Rules, SavedKeys, TicketKeys};
use crate::metrics::Metrics;
use crate::proxy::Phase;

/// Why listeners stay as they are.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub(super) struct ListenError {
    pub(super) address: ListenAddress,
    pub(super) source: io::Error,
}

/// What became of the listeners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Applied {
    pub(super) kept: usize,
    pub(super) added: usize,
    pub(super) removed: usize,
}

/// A handle of the listeners. Clones are the same.
#[derive(Clone)]
pub(super) struct Listeners(Arc<Inner>);

struct Inner {
    front: Arc<Front>,
    metrics: Arc<Metrics>,
    /// What all of them make session tickets with.
    tickets: Arc<TicketKeys>,
    open: Mutex<Vec<Port>>,
    /// Of listeners that accept no more, and that still have connections.
    closed: Mutex<Vec<watch::Sender<Phase>>>,
    openings: mpsc::UnboundedSender<(Opening<Door>, ShutdownWatch)>,
}

impl Listeners {
    /// None so far, and the service that will run them.
    pub(super) fn new(front: Front, metrics: Arc<Metrics>) -> (Listeners, ListenersService) {
        let (openings, wanted) = mpsc::unbounded_channel();
        let listeners = Listeners(Arc::new(Inner {
            front: Arc::new(front),
            metrics,
            tickets: Arc::default(),
            open: Mutex::default(),
            closed: Mutex::default(),
            openings,
        }));
        (listeners, ListenersService { wanted: Some(wanted), serving: watch::Sender::new(false) })
    }

    fn open(&self) -> MutexGuard<'_, Vec<Port>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Have these listeners and no others. Those that are there already are not touched. A new one is bound before anything
    /// is changed. One that is to go stops accepting; its idle connections close, and what is under way is finished.
    ///
    /// # Errors
    /// That one cannot be had; nothing has changed.
    pub(super) fn apply(&self, wanted: &[Listener]) -> Result<Applied, ListenError> {
        self.adopt(wanted, &mut Vec::new())
    }

    /// The same, with sockets that somebody else has bound. What is wanted of them is taken.
    ///
    /// # Errors
    /// The same.
    pub(super) fn adopt(&self, wanted: &[Listener], sockets: &mut Vec<Socket>) -> Result<Applied, ListenError> {
        let mut open = self.open();
        let places = places(&open, wanted);
        let missing = wanted.iter().enumerate().filter(|(place, _)| !places.contains(&Some(*place)));
        let added: Result<Vec<_>, _> =
            missing.map(|(place, wanted)| Ok((place, self.prepare(wanted, &open, sockets)?))).collect();
        let added = added?;
        let stay = open.iter().zip(&places).filter_map(|(port, place)| Some((port, wanted.get((*place)?)?)));
        let renewed: Result<Vec<_>, _> = stay.map(|(port, wanted)| self.renewed(port, wanted)).collect();
        let mut renewed = renewed?.into_iter();
        let (mut placed, mut gone) = (Vec::new(), Vec::new());
        for (mut port, place) in open.drain(..).zip(places) {
            // Those that stay have been renewed in this order.
            match place.and_then(|place| Some((place, renewed.next()?))) {
                Some((place, (listener, new))) => {
                    port.become_what(listener, new);
                    placed.push((place, port));
                }
                None => gone.push(port),
            }
        }
        let applied = Applied { kept: placed.len(), added: added.len(), removed: gone.len() };
        for (place, (port, opening)) in added {
            info!("listening on {}", port.socket.address);
            // Refused only when the process is at its end.
            let _ = self.0.openings.send((opening, port.stop.subscribe()));
            placed.push((place, port));
        }
        placed.sort_by_key(|(place, _)| *place);
        open.extend(placed.into_iter().map(|(_, port)| port));
        for port in gone {
            info!("not listening on {} any more", port.socket.address);
            let name = port.name();
            if !open.iter().any(|port| port.certificates.is_some() && port.name() == name) {
                self.0.metrics.tls().forget(&name);
            }
            self.close_port(port, Phase::Closing);
        }
        for certificates in open.iter().filter_map(|port| port.certificates.as_ref()) {
            certificates.show(&self.0.metrics);
            certificates.warn();
        }
        Ok(applied)
    }

    /// What a listener that stays is to become.
    fn renewed(&self, port: &Port, wanted: &Listener) -> Result<(Listener, New), ListenError> {
        let new = self.rules(wanted, &port.name());
        let new = new.map_err(|source| ListenError { address: wanted.address.clone(), source });
        Ok((wanted.clone(), new?))
    }

    /// The rules of a listener, and who watches the files that they come from.
    fn rules(&self, wanted: &Listener, name: &str) -> io::Result<New> {
        // Ahead of reading: what is written meanwhile is seen as a change.
        let stamps = Watched::stamps(wanted);
        let rules = Rules::new(wanted, name, &self.0.tickets, self.0.metrics.tls());
        let rules = rules.map_err(|mistakes| {
            io::Error::other(mistakes.first().map_or_else(String::new, |mistake| mistake.message.clone()))
        })?;
        let certificates = rules.acceptor().map(|acceptor| Watched::new(name, Arc::clone(acceptor), stamps));
        Ok(New { rules, certificates: certificates.map(Arc::new) })
    }

    /// The certificates that are served.
    pub(super) fn certificates(&self) -> Vec<Arc<Watched>> {
        self.open().iter().filter_map(|port| port.certificates.clone()).collect()
    }

    /// What session tickets are made with, for a successor.
    pub(super) fn tickets(&self) -> SavedKeys {
        self.0.tickets.save()
    }

    /// Take a predecessor's tickets, too.
    pub(super) fn take_tickets(&self, saved: SavedKeys) {
        self.0.tickets.go_on_with(saved);
    }

    fn prepare(
        &self,
        wanted: &Listener,
        open: &[Port],
        sockets: &mut Vec<Socket>,
    ) -> Result<(Port, Opening<Door>), ListenError> {
        let failed = |source| ListenError { address: wanted.address.clone(), source };
        // The same address with other demands goes on with its socket: who has connected already is not lost.
        let same = open.iter().find(|port| port.listener.address == wanted.address && !port.socket.is_lost());
        let socket = match (listen::take(&wanted.address, sockets), same) {
            (Some(handed), _) => Ok(handed),
            (None, Some(port)) => port.socket.share(),
            (None, None) => listen::bind(&wanted.address),
        };
        let socket = socket.and_then(|socket| socket.usable().map(|()| socket)).map_err(failed)?;
        let phase = watch::Sender::default();
        let New { rules, certificates } = self.rules(wanted, &socket.address.to_string()).map_err(failed)?;
        let rules = Arc::new(ArcSwap::from_pointee(rules));
        let door = Door::new(Arc::clone(&self.0.front), phase.subscribe(), Arc::clone(&rules));
        let opening = Opening::new(door, socket.share().map_err(failed)?);
        let (listener, stop) = (wanted.clone(), watch::Sender::new(false));
        let port = Port { listener, rules, certificates, socket, phase, stop };
        Ok((port, opening))
    }

    /// The addresses that are listened on, in the order of the configuration.
    pub(super) fn addresses(&self) -> Vec<ListenAddress> {
        self.open().iter().map(|port| port.socket.address.clone()).collect()
    }

    /// Handles of every socket, for a successor.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn sockets(&self) -> io::Result<Vec<Socket>> {
        self.open().iter().map(|port| port.socket.share()).collect()
    }

    /// Every response is the last of its connection from now on, but new connections are still accepted.
    pub(super) fn leave(&self) {
        for port in &*self.open() {
            port.phase.send_replace(Phase::Leaving);
        }
    }

    /// Accept no more. `phase` says whether tunnels go on, also on listeners that were closed before.
    pub(super) fn close(&self, phase: Phase) {
        let ports: Vec<Port> = self.open().drain(..).collect();
        for port in ports {
            self.close_port(port, phase);
        }
        for closed in &*self.closed() {
            closed.send_replace(phase);
        }
    }

    fn close_port(&self, port: Port, phase: Phase) {
        let mut closed = self.closed();
        // Those are done on which no connection is left.
        closed.retain(|phase| phase.receiver_count() > 0);
        closed.push(port.phase.clone());
        port.close(phase);
    }

    fn closed(&self) -> MutexGuard<'_, Vec<watch::Sender<Phase>>> {
        self.0.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pingora service in whose threads listeners are served.
pub(super) struct ListenersService {
    wanted: Option<mpsc::UnboundedReceiver<(Opening<Door>, ShutdownWatch)>>,
    serving: watch::Sender<bool>,
}

impl ListenersService {
    /// Turns true when everything has begun to accept that is wanted at the start.
    pub(super) fn serving(&self) -> watch::Receiver<bool> {
        self.serving.subscribe()
    }
}

#[async_trait]
impl PingoraService for ListenersService {
    async fn start_service(&mut self, _: Option<ListenFds>, _: ShutdownWatch, tasks: usize) {
        let Some(mut wanted) = self.wanted.take() else { return };
        let mut running = JoinSet::new();
        while let Ok((opening, stop)) = wanted.try_recv() {
            running.spawn(opening.accept(stop, tasks));
        }
        self.serving.send_replace(true);
        systemd::ready();
        // From here: what systemd restarts is a process that cannot serve.
        let mut watchdog = Watchdog::new();
        loop {
            tokio::select! {
                () = watchdog.turn() => {}
                opening = wanted.recv() => match opening {
                    Some((opening, stop)) => {
                        running.spawn(opening.accept(stop, tasks));
                    }
                    None => return,
                },
                Some(ended) = running.join_next(), if !running.is_empty() => {
                    // Not where it is cancelled: that is the end of the runtime, which may not be that of the process.
                    if ended.is_err_and(|e| e.is_panic()) {
                        // The panic itself has been logged. A process that looks alive and does not listen is worse than none.
                        error!("cannot listen: stopping");
                        std::process::exit(1);
                    }
                }
            }
        }
    }

    fn name(&self) -> &str {
        "listeners"
    }

    fn listen_addresses(&self) -> Option<Vec<String>> {
        Some(Vec::new())
    }
}
