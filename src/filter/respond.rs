//! An answer of our own, in place of a backend's.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora_core::Result;
use pingora_proxy::Session;

use crate::terms::tell_strict_transport;

/// Answer with a text, and these headers beside its length and type. A `request_filter` that has done so returns `Ok(true)`.
///
/// # Errors
/// That a header is malformed, or that the client has gone.
pub async fn respond(
    session: &mut Session,
    status: StatusCode,
    headers: &[(&'static str, &str)],
    text: &str,
) -> Result<()> {
    let mut response = ResponseHeader::build(status, Some(headers.len() + 2))?;
    for (name, value) in headers {
        response.insert_header(*name, *value)?;
    }
    tell_strict_transport(&mut response)?;
    // RFC 9110, 8.6: neither of them has a body, nor says how long one would be.
    let has_length = status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED;
    if has_length {
        response.insert_header(CONTENT_LENGTH, text.len())?;
        response.insert_header(CONTENT_TYPE, "text/plain; charset=utf-8")?;
    }
    let ends = !has_length || text.is_empty() || session.req_header().method == Method::HEAD;
    session.write_response_header(Box::new(response), ends).await?;
    if !ends {
        session.write_response_body(Some(Bytes::copy_from_slice(text.as_bytes())), true).await?;
    }
    Ok(())
}
