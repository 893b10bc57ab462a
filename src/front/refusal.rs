//! The answer to a request that no hook of pingora's ever sees: it came as something else than HTTP, or too slowly, or there was
//! no room for its connection. It looks like any other refusal.

use http::StatusCode;

use crate::reason::Reason;
use crate::terms::Terms;

/// The whole response; the connection ends with it.
pub(super) fn response(reason: Reason) -> Vec<u8> {
    let status = StatusCode::from_u16(reason.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let (code, phrase) = (status.as_u16(), status.canonical_reason().unwrap_or("Error"));
    let text = format!("{code} {phrase}: {reason}\n");
    let more = match reason {
        Reason::MethodNotAllowed => "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n",
        Reason::TooManyConnections | Reason::TooManyConnectionsPerIp => "Retry-After: 1\r\n",
        _ => "",
    };
    let hsts = Terms::current().and_then(|terms| terms.hsts.clone());
    let hsts = hsts.as_ref().and_then(|hsts| hsts.to_str().ok());
    let hsts = hsts.map_or_else(String::new, |hsts| format!("Strict-Transport-Security: {hsts}\r\n"));
    format!(
        "HTTP/1.1 {code} {phrase}\r\nX-Evenkeel-Reason: {reason}\r\n{more}{hsts}Content-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{text}",
        text.len(),
    )
    .into_bytes()
}
