//! The admin pages as a pingora service: on a thread of their own, so that they answer however busy the proxy is, and up
//! longer than every other listener, so that `/readyz` can be asked to the end.

use std::io;

use async_trait::async_trait;
use log::error;
use pingora_core::server::{ListenFds, ShutdownWatch};
use pingora_core::services::Service as PingoraService;
use pingora_core::{ErrorType, OrErr};
use tokio::sync::watch;

use super::listen::{Opening, Socket};
use crate::admin::Admin;

/// The admin pages on their socket.
pub(super) struct AdminService {
    opening: Option<Opening<Admin>>,
    stop: watch::Receiver<bool>,
}

/// A handle of them.
pub(super) struct AdminPort {
    socket: Socket,
    stop: watch::Sender<bool>,
}

impl AdminPort {
    /// Another handle of the socket, for a successor.
    pub(super) fn socket(&self) -> io::Result<Socket> {
        self.socket.share()
    }

    /// Accept no more.
    pub(super) fn close(self) {
        self.stop.send_replace(true);
    }
}

impl AdminService {
    /// Pages on this socket.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn new(admin: Admin, socket: Socket) -> pingora_core::Result<(Self, AdminPort)> {
        let stop = watch::Sender::new(false);
        let shared = socket.share().or_err(ErrorType::BindError, "admin")?;
        let service = AdminService { opening: Some(Opening::new(admin, shared)), stop: stop.subscribe() };
        Ok((service, AdminPort { socket, stop }))
    }
}

#[async_trait]
impl PingoraService for AdminService {
    async fn start_service(&mut self, _: Option<ListenFds>, _: ShutdownWatch, tasks: usize) {
        let Some(opening) = self.opening.take() else { return };
        if tokio::spawn(opening.accept(self.stop.clone(), tasks)).await.is_err_and(|e| e.is_panic()) {
            error!("admin cannot listen: stopping");
            std::process::exit(1);
        }
    }

    fn name(&self) -> &str {
        "admin"
    }

    fn threads(&self) -> Option<usize> {
        Some(1)
    }

    fn listen_addresses(&self) -> Option<Vec<String>> {
        Some(Vec::new())
    }
}
