//! From one HTTP to the other: what a request must become for a backend that is asked in another version than ours.

use http::header::{CONNECTION, EXPECT, HOST};
use http::{HeaderValue, Version};
use pingora::http::RequestHeader;
use pingora_core::{Error, Result};
use pingora_proxy::Session;

use super::exchange::Exchange;
use super::{grpc, http10, request};
use crate::config::Protocol;
use crate::pool::{NOT_HTTP2, Pool};

impl Exchange {
    /// Make `upstream_request` one that the backend understands.
    ///
    /// # Errors
    /// That the backend does not speak HTTP/2, in a pool that asks in nothing else.
    pub(super) async fn translate(
        &mut self,
        session: &mut Session,
        upstream_request: &mut RequestHeader,
    ) -> Result<()> {
        let Some(pool) = &self.ctx.pool else { return Ok(()) };
        let address = self.ctx.lease.as_ref().map_or("", |lease| lease.backend().label());
        if upstream_request.version == Version::HTTP_2 {
            into_http2(session, upstream_request, pool, address)?;
            expect(session, upstream_request, &mut self.continued).await?;
        } else {
            into_http1(session, upstream_request, pool)?;
        }
        if pool.grpc_web() {
            self.grpc_web = grpc::from_web(upstream_request);
        }
        Ok(())
    }
}

/// `nobody` is whom one asks who does not say it.
fn into_http2(session: &mut Session, upstream_request: &mut RequestHeader, pool: &Pool, nobody: &str) -> Result<()> {
    let unnamed = !upstream_request.headers.contains_key(HOST);
    match session.req_header().version {
        Version::HTTP_2 if unnamed && upstream_request.uri.scheme_str() != Some(pool.scheme()) => {
            // Of it pingora makes the target anew, with the scheme of the backend's connection.
            let authority = upstream_request.uri.authority().map(|authority| authority.as_str().to_owned());
            upstream_request.insert_header(HOST, authority.unwrap_or_default())?;
        }
        Version::HTTP_10 => {
            http10::without_chunks(session);
            if unnamed && upstream_request.uri.authority().is_none() {
                // It need not say whom it asks, and HTTP/2 must.
                upstream_request.insert_header(HOST, nobody)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn into_http1(session: &Session, upstream_request: &mut RequestHeader, pool: &Pool) -> Result<()> {
    if pool.protocol() == Protocol::H2 {
        // By ALPN it has chosen another, or none. Nothing has been sent.
        return Err(Error::explain(NOT_HTTP2, "the backend does not agree to h2 by ALPN").into_up());
    }
    if session.req_header().version == Version::HTTP_2 {
        request::join_cookies(upstream_request)?;
        // Its 100 could not be passed on, and it would wait for a body that waits for that.
        upstream_request.remove_header(&EXPECT);
    }
    if !session.is_upgrade_req() && pool.wants_connection() {
        upstream_request.insert_header(CONNECTION, HeaderValue::from_static("close"))?;
    }
    Ok(())
}

/// A backend's 100 would not come through: the client is told to go on by us.
async fn expect(session: &mut Session, upstream_request: &mut RequestHeader, continued: &mut bool) -> Result<()> {
    let expected = upstream_request.remove_header(&EXPECT);
    let version = session.req_header().version;
    if expected.is_none_or(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
        || version != Version::HTTP_11
        || std::mem::replace(continued, true)
    {
        return Ok(());
    }
    // Pingora takes it for an answer ahead of the body, after which it would close the connection.
    let keepalive = session.get_keepalive();
    session.as_downstream_mut().write_continue_response().await.map_err(|e| e.into_down())?;
    session.set_keepalive(keepalive);
    Ok(())
}
