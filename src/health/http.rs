//! `http`: a backend is well if it answers a request as expected.

use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use http::header::USER_AGENT;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::{Error, ErrorType, OrErr, Result};
use pingora_load_balancing::Backend;
use pingora_load_balancing::health_check::HealthCheck;

use super::dial::{Dial, Trust};
use super::session::{AGENT, Session, unexpected, uri};
use crate::backend::label;
use crate::config::HttpProbe;

/// Sends one request over a fresh connection, as a new client would.
pub struct HttpCheck {
    probe: HttpProbe,
    send: Bytes,
    max_body: usize,
    dial: Dial,
}

impl HttpCheck {
    /// A check that asks as `probe` says.
    ///
    /// # Errors
    /// Authorities that cannot be loaded; never without TLS.
    pub fn new(probe: &HttpProbe, trust: &Trust) -> Result<Self, String> {
        Ok(HttpCheck {
            dial: Dial::new(probe.port, probe.tls.as_ref(), probe.protocol, probe.proxy_protocol, trust)?,
            send: Bytes::from(probe.send.clone().unwrap_or_default()),
            max_body: usize::try_from(probe.max_body).unwrap_or(usize::MAX),
            probe: probe.clone(),
        })
    }

    fn request(&self, target: &SocketAddr) -> Result<Request<Bytes>> {
        let uri = uri(self.dial.scheme(), self.probe.host.as_deref(), target, &self.probe.path)?;
        let mut request = Request::builder().method(&self.probe.method).uri(uri).header(USER_AGENT, AGENT);
        if let Some(headers) = request.headers_mut() {
            for (name, value) in &self.probe.headers {
                headers.insert(name, value.clone());
            }
        }
        request.body(self.send.clone()).or_err(ErrorType::InvalidHTTPHeader, "request")
    }

    async fn check_body(&self, session: &mut Session) -> Result<()> {
        let Some(pattern) = &self.probe.body else {
            return Ok(());
        };
        let mut body = Vec::new();
        while let Some(chunk) = session.read().await? {
            body.extend_from_slice(&chunk[..chunk.len().min(self.max_body - body.len())]);
            if pattern.is_match(&body) {
                return Ok(());
            }
            if body.len() == self.max_body {
                break;
            }
        }
        if pattern.is_match(&body) {
            return Ok(());
        }
        Error::e_explain(ErrorType::Custom("UnexpectedBody"), format!("{} bytes do not match", body.len()))
    }
}

#[async_trait]
impl HealthCheck for HttpCheck {
    async fn check(&self, target: &Backend) -> Result<()> {
        let request = self.request(&target.addr)?;
        let stream = self.dial.connect(&target.addr).await?;
        let (response, mut session) = Session::ask(stream, self.probe.protocol, request).await?;
        let status = response.status().as_u16();
        let checked = if self.probe.expect.iter().any(|&(low, high)| (low..=high).contains(&status)) {
            self.check_body(&mut session).await
        } else {
            unexpected(response.status())
        };
        session.end().await;
        checked
    }

    fn backend_summary(&self, target: &Backend) -> String {
        label(&target.addr)
    }

    fn health_threshold(&self, _success: bool) -> usize {
        1
    }
}
