//! Asks the admin address of a running process.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use pingora::http::RequestHeader;
use pingora_core::Result;
use pingora_core::connectors::http::Connector;
use pingora_core::upstreams::peer::HttpPeer;

use super::{load, wrong};
use crate::config::{Admin, Config};

/// A process that does not answer its admin address by then is not well.
const LIMIT: Duration = Duration::from_secs(5);
/// What takes a process as long as its sources and the first probes of new backends, or another process to start.
const ORDER_LIMIT: Duration = Duration::from_secs(150);

/// The admin address of a running process: as it was given, or as a configuration says.
pub(super) fn address(conf: Option<&Path>, admin: Option<SocketAddr>) -> Result<SocketAddr, ExitCode> {
    let Some(conf) = conf else { return Ok(admin.unwrap_or(Admin::ADDRESS)) };
    match load(conf).map_err(wrong)?.admin {
        Some(admin) => Ok(admin.address),
        None => Err(wrong("this configuration has no admin address (admin: off)")),
    }
}

/// The admin address: as it was given, or as a configuration that was read says, which may have none.
pub(super) fn address_of(config: Option<&Config>, admin: Option<SocketAddr>) -> Option<SocketAddr> {
    let configured = || match config {
        Some(config) => config.admin.as_ref().map(|admin| admin.address),
        None => Some(Admin::ADDRESS),
    };
    admin.or_else(configured)
}

/// GET a page: its status and body.
pub(super) fn get(admin: SocketAddr, path: &str) -> Result<(u16, Vec<u8>), String> {
    ask(admin, "GET", path, Vec::new(), LIMIT)
}

/// POST nothing to a page that changes something: its status and body.
pub(super) fn post(admin: SocketAddr, path: &str) -> Result<(u16, Vec<u8>), String> {
    ask(admin, "POST", path, Vec::new(), LIMIT)
}

/// POST to a page that has the process do something as a whole, and wait until it is done: its status and body.
pub(super) fn order(admin: SocketAddr, path: &str, body: Vec<u8>) -> Result<(u16, Vec<u8>), String> {
    order_within(admin, path, body, ORDER_LIMIT)
}

/// The same, within this time.
pub(super) fn order_within(
    admin: SocketAddr,
    path: &str,
    body: Vec<u8>,
    limit: Duration,
) -> Result<(u16, Vec<u8>), String> {
    ask(admin, "POST", path, body, limit)
}

fn ask(admin: SocketAddr, method: &str, path: &str, body: Vec<u8>, limit: Duration) -> Result<(u16, Vec<u8>), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let answer = runtime.block_on(async { tokio::time::timeout(limit, fetch(admin, method, path, body)).await });
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(e)) => Err(format!("no answer from {admin}, is evenkeel running there? ({})", e.etype.as_str())),
        Err(_) => Err(format!("no answer from {admin} within {limit:?}")),
    }
}

async fn fetch(admin: SocketAddr, method: &str, path: &str, body: Vec<u8>) -> Result<(u16, Vec<u8>)> {
    let peer = HttpPeer::new(admin, false, String::new());
    let (mut session, _) = Connector::<()>::new(None).get_http_session(&peer).await?;
    let mut request = RequestHeader::build(method, path.as_bytes(), Some(2))?;
    request.insert_header(http::header::HOST, admin.to_string())?;
    if method == "POST" {
        request.insert_header(http::header::CONTENT_TYPE, "application/json")?;
        request.insert_header(http::header::CONTENT_LENGTH, body.len().to_string())?;
    }
    session.write_request_header(Box::new(request)).await?;
    if !body.is_empty() {
        session.write_request_body(body.into(), true).await?;
    }
    session.finish_request_body().await?;
    session.read_response_header().await?;
    let status = session.response_header().map_or(0, |response| response.status.as_u16());
    let mut body = Vec::new();
    while let Some(chunk) = session.read_response_body().await? {
        body.extend_from_slice(&chunk);
    }
    Ok((status, body))
}
