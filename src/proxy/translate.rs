//! From one HTTP to the other: what a request must become for a backend that is asked in another version than ours.

use http::header::{CONNECTION, EXPECT, HOST};
use http::{HeaderValue, Version};
use pingora::http::RequestHeader;
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::{http10, request};
use crate::config::Protocol;
use crate::pool::Pool;

/// Says of pingora's error that a backend which is to be asked in HTTP/2 alone does not speak it.
pub(super) const NOT_HTTP2: ErrorType = ErrorType::Custom("NotHttp2");

/// Make `upstream_request` one that the backend understands. `nobody` is whom one asks who does not say
/// it, and `continued` whether the client has been told to send its body.
///
/// # Errors
/// That the backend does not speak HTTP/2, in a pool that asks in nothing else.
pub(super) async fn translate(
    session: &mut Session,
    upstream_request: &mut RequestHeader,
    pool: &Pool,
    nobody: &str,
    continued: &mut bool,
) -> Result<()> {
    let from_http2 = session.req_header().version == Version::HTTP_2;
    if upstream_request.version == Version::HTTP_2 {
        let scheme = upstream_request.uri.scheme_str();
        if from_http2 && scheme != Some(pool.scheme()) && !upstream_request.headers.contains_key(HOST) {
            // Of it pingora makes the target anew, with the scheme of the backend's connection.
            let authority = upstream_request.uri.authority().map(|authority| authority.as_str().to_owned());
            upstream_request.insert_header(HOST, authority.unwrap_or_default())?;
        }
        if session.req_header().version == Version::HTTP_10 {
            http10::without_chunks(session);
            if !upstream_request.headers.contains_key(HOST) && upstream_request.uri.authority().is_none() {
                // It need not say whom it asks, and HTTP/2 must.
                upstream_request.insert_header(HOST, nobody)?;
            }
        }
        return expect(session, upstream_request, continued).await;
    }
    if pool.protocol() == Protocol::H2 {
        // By ALPN it has chosen another, or none. Nothing has been sent.
        return Err(Error::explain(NOT_HTTP2, "the backend does not agree to h2 by ALPN").into_up());
    }
    if from_http2 {
        request::join_cookies(upstream_request)?;
        // Its 100 could not be passed on, and it would wait for a body that waits for that.
        upstream_request.remove_header(&EXPECT);
    } else {
        request::to_origin_form(upstream_request)?;
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
