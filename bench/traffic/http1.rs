//! Requests over HTTP/1.1 connections that are kept, and closed after some time.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::time::timeout_at;

use crate::Options;
use crate::kind;
use crate::ledger::Ledger;
use crate::request::{Body, Errand, connect};

pub(crate) struct Client {
    address: SocketAddr,
    reuse: usize,
    /// The last one used on top.
    idle: Mutex<Vec<Kept>>,
}

struct Kept {
    sender: SendRequest<Body>,
    /// How many more requests it is good for.
    left: usize,
    is_new: bool,
}

impl Client {
    pub(crate) fn new(options: &Options) -> Self {
        Self { address: options.http, reuse: options.reuse, idle: Mutex::default() }
    }

    /// The origin that answered well, or what went wrong.
    pub(crate) async fn send(&self, errand: &Errand, ledger: &Ledger) -> Result<Option<String>, String> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut kept = match idle {
                Some(kept) => kept,
                None => self.open(errand, ledger).await?,
            };
            let sending = kept.sender.try_send_request(in_origin_form(&errand.request));
            let on = if kept.is_new { "" } else { " on a kept connection" };
            let response = match timeout_at(errand.deadline, sending).await.map_err(|_| "timeout")? {
                Ok(response) => response,
                // It comes back whole: the connection was closed while we kept it, and nobody has seen anything of this.
                Err(error) if error.message().is_some() && !kept.is_new => {
                    ledger.count("sent again, by another connection", 1);
                    continue;
                }
                Err(error) => return Err(kind::of_request(error.error()) + on),
            };
            let origin = errand.check(response).await?;
            kept.left -= 1;
            kept.is_new = false;
            // A connection that is not to be used again fails this.
            if kept.left > 0 && timeout_at(errand.deadline, kept.sender.ready()).await.is_ok_and(|ready| ready.is_ok())
            {
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
            }
            return Ok(origin);
        }
    }

    async fn open(&self, errand: &Errand, ledger: &Ledger) -> Result<Kept, String> {
        let stream = connect(self.address, errand.deadline).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| kind::of_request(&error))?;
        // What goes wrong there is told to the request that it goes wrong for.
        tokio::spawn(connection);
        ledger.count("h1 connections", 1);
        Ok(Kept { sender, left: fastrand::usize(1..=2 * self.reuse), is_new: true })
    }
}

/// HTTP/1.1 names the host in a header, and not in the request's first line.
fn in_origin_form(request: &Request<Body>) -> Request<Body> {
    let mut request = request.clone();
    if let Some(path) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = Uri::from(path);
    }
    request.headers_mut().insert(HOST, HeaderValue::from_static("endurance.test"));
    request
}
