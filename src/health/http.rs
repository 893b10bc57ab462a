//! `http`: a backend is well if it answers a GET as expected.

use async_trait::async_trait;
use http::header::{CONNECTION, HOST, USER_AGENT};
use pingora::http::RequestHeader;
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_load_balancing::Backend;
use pingora_load_balancing::health_check::HealthCheck;

use crate::backend::label;
use crate::config::HttpProbe;

/// How much of a body is read to be matched; a check's answer is short, and a backend must not be able to feed us for ever.
const MAX_BODY: usize = 64 * 1024;

/// Sends one GET over a fresh connection, as a new client would.
pub struct HttpCheck {
    probe: HttpProbe,
    connector: Connector,
}

impl HttpCheck {
    /// A check that asks as `probe` says.
    pub fn new(probe: &HttpProbe) -> Self {
        HttpCheck { probe: probe.clone(), connector: Connector::new(None) }
    }

    fn request(&self, target: &SocketAddr) -> Result<RequestHeader> {
        let mut request = RequestHeader::build("GET", self.probe.path.as_bytes(), Some(3))?;
        let host = match (&self.probe.host, target) {
            (Some(host), _) => host.clone(),
            (None, SocketAddr::Unix(_)) => "localhost".to_owned(),
            (None, SocketAddr::Inet(address)) => address.to_string(),
        };
        request.insert_header(HOST, host)?;
        request.insert_header(USER_AGENT, concat!("evenkeel/", env!("CARGO_PKG_VERSION"), " (health check)"))?;
        request.insert_header(CONNECTION, "close")?;
        Ok(request)
    }

    fn peer(&self, target: &Backend) -> Result<HttpPeer> {
        let mut target = target.addr.clone();
        if let Some(port) = self.probe.port {
            target.set_port(port);
        }
        match &target {
            SocketAddr::Inet(address) => Ok(HttpPeer::new(address, false, String::new())),
            SocketAddr::Unix(address) => {
                let path = address.as_pathname().and_then(|p| p.to_str()).unwrap_or_default();
                HttpPeer::new_uds(path, false, String::new())
            }
        }
    }

    async fn check_body(&self, session: &mut HttpSession) -> Result<()> {
        let Some(pattern) = &self.probe.body else {
            return Ok(());
        };
        let mut body = Vec::new();
        while let Some(chunk) = session.read_response_body().await? {
            body.extend_from_slice(&chunk[..chunk.len().min(MAX_BODY - body.len())]);
            if pattern.is_match(&body) {
                return Ok(());
            }
            if body.len() == MAX_BODY {
                break;
            }
        }
        if pattern.is_match(&body) {
            return Ok(());
        }
        Error::e_explain(ErrorType::Custom("UnexpectedBody"), format!("{} bytes do not match", body.len()))
    }
}

/// The status of the answer, past any 1xx before it.
async fn final_status(session: &mut HttpSession) -> Result<u16> {
    loop {
        session.read_response_header().await?;
        match session.response_header().map(|response| response.status) {
            Some(status) if status.is_informational() => {}
            Some(status) => return Ok(status.as_u16()),
            None => return Error::e_explain(ErrorType::ReadError, "no response header"),
        }
    }
}

#[async_trait]
impl HealthCheck for HttpCheck {
    async fn check(&self, target: &Backend) -> Result<()> {
        let peer = self.peer(target)?;
        let (mut session, _) = self.connector.get_http_session(&peer).await?;
        session.write_request_header(Box::new(self.request(&target.addr)?)).await?;
        session.finish_request_body().await?;
        let status = final_status(&mut session).await?;
        if !self.probe.expect.iter().any(|&(low, high)| (low..=high).contains(&status)) {
            return Error::e_explain(ErrorType::HTTPStatus(status), "not an expected status");
        }
        self.check_body(&mut session).await
    }

    fn backend_summary(&self, target: &Backend) -> String {
        label(&target.addr)
    }

    fn health_threshold(&self, _success: bool) -> usize {
        1
    }
}
