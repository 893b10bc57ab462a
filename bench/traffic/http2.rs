//! Requests over a few HTTP/2 connections, each closed after some time.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::timeout_at;

use crate::Options;
use crate::kind;
use crate::ledger::Ledger;
use crate::request::{Body, Errand, connect};

const CONNECTIONS: usize = 4;
/// As many streams share a connection as requests do in HTTP/1.1, ten at a time or so.
const MORE_REUSE: usize = 10;
/// A request that is refused again and again has failed.
const ATTEMPTS: usize = 5;

pub(crate) struct Client {
    address: SocketAddr,
    reuse: usize,
    open: [Mutex<Option<Kept>>; CONNECTIONS],
}

#[derive(Clone)]
struct Kept {
    sender: SendRequest<Body>,
    left: usize,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, options: &Options) -> Self {
        Self { address, reuse: options.reuse * MORE_REUSE, open: Default::default() }
    }

    /// The origin that answered well, or what went wrong.
    pub(crate) async fn send(&self, errand: &Errand, ledger: &Ledger) -> Result<Option<String>, String> {
        let mut refused = String::new();
        for _ in 0..ATTEMPTS {
            let mut sender = self.sender(errand, ledger).await?;
            let sending = sender.try_send_request(errand.request.clone());
            let error = match timeout_at(errand.deadline, sending).await.map_err(|_| "timeout")? {
                Ok(response) => return errand.check(response).await,
                Err(error) => error,
            };
            let is_unsent = error.message().is_some();
            refused = kind::of_request(error.error());
            if !is_unsent && !kind::is_refused(error.error()) {
                return Err(refused);
            }
            ledger.count("sent again, by another connection", 1);
        }
        Err(format!("{refused}, {ATTEMPTS} times"))
    }

    async fn sender(&self, errand: &Errand, ledger: &Ledger) -> Result<SendRequest<Body>, String> {
        let slot = &self.open[fastrand::usize(..CONNECTIONS)];
        if let Some(kept) = &mut *slot.lock().unwrap_or_else(PoisonError::into_inner)
            && kept.left > 0
            && kept.sender.is_ready()
        {
            kept.left -= 1;
            return Ok(kept.sender.clone());
        }
        let stream = connect(self.address, errand.deadline).await?;
        let shaking = handshake(TokioExecutor::new(), TokioIo::new(stream));
        let shaken = timeout_at(errand.deadline, shaking).await.map_err(|_| "timeout")?;
        let (sender, connection) = shaken.map_err(|error| kind::of_request(&error))?;
        tokio::spawn(connection);
        ledger.count("h2 connections", 1);
        let kept = Kept { sender: sender.clone(), left: fastrand::usize(1..=2 * self.reuse) };
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(sender)
    }
}
