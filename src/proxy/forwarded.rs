//! Who the client is, and what a backend is told of it: `X-Forwarded-For`, `-Proto`, `-Host`, `X-Request-Id`.
//!
//! A peer of `trusted_proxies` is believed: what it sent is kept and added to. Nobody else is: what they sent is replaced.

use std::net::IpAddr;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::FORWARDED;
use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;
use pingora::http::RequestHeader;
use pingora_core::{ErrorType, OrErr, Result};

use crate::ctx::{Ctx, RequestId};
use crate::terms::ClientCertificate;

const FOR: &str = "x-forwarded-for";
const PROTO: &str = "x-forwarded-proto";
const HOST: &str = "x-forwarded-host";
const REQUEST_ID: &str = "x-request-id";

/// Longer ids than that are replaced by our own: they go into every log line.
const MAX_REQUEST_ID: usize = 128;

/// Note in `ctx` who the client is.
pub(super) fn identify(ctx: &mut Ctx, peer: Option<IpAddr>, headers: &HeaderMap, trusted: &[IpNet]) {
    let believed = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    let peer = peer.map(|address| address.to_canonical());
    ctx.trusted = !trusted.is_empty() && peer.as_ref().is_some_and(believed);
    ctx.client = peer;
    ctx.request_id = RequestId::Own([b'0'; 32]);
    if ctx.trusted {
        ctx.client = client_behind(headers, believed).or(peer);
        if let Some(given) = given_request_id(headers) {
            ctx.request_id = given;
            return;
        }
    }
    ctx.request_id = RequestId::random();
}

/// The last address of `X-Forwarded-For` that is not a trusted proxy's; the first if all are.
fn client_behind(headers: &HeaderMap, believed: impl Fn(&IpAddr) -> bool) -> Option<IpAddr> {
    let lines = headers.get_all(FOR).iter().rev();
    let mut last = None;
    for line in lines {
        for element in line.to_str().ok()?.rsplit(',') {
            let Some(address) = address(element.trim()) else {
                // Beyond something that is no address, nobody can be believed.
                return last;
            };
            if !believed(&address) {
                return Some(address);
            }
            last = Some(address);
        }
    }
    last
}

/// An address, with or without a port, as proxies write it.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok();
    let with_port = || text.parse().ok().map(|a: std::net::SocketAddr| a.ip());
    address.or_else(with_port).map(|a: IpAddr| a.to_canonical())
}

fn given_request_id(headers: &HeaderMap) -> Option<RequestId> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let fits = !id.is_empty() && id.len() <= MAX_REQUEST_ID;
    fits.then(|| RequestId::Given(id.into()))
}

/// Tell the backend who the client is and what it asked for.
pub(super) fn tell(
    request: &mut RequestHeader,
    ctx: &Ctx,
    peer: Option<IpAddr>,
    tls: bool,
    received: &RequestHeader,
) -> Result<()> {
    let kept = |request: &RequestHeader, name| ctx.trusted && request.headers.contains_key(name);
    match peer {
        Some(peer) => {
            let value = forwarded_for(request, ctx, peer.to_canonical())?;
            request.insert_header(Bytes::from_static(b"X-Forwarded-For"), value)?;
        }
        None => drop(request.remove_header(FOR)),
    }
    if !kept(request, PROTO) {
        let scheme = HeaderValue::from_static(if tls { "https" } else { "http" });
        request.insert_header(Bytes::from_static(b"X-Forwarded-Proto"), scheme)?;
    }
    if !kept(request, HOST) {
        match host(received) {
            Some(host) => request.insert_header(Bytes::from_static(b"X-Forwarded-Host"), host)?,
            None => drop(request.remove_header(HOST)),
        }
    }
    if !ctx.trusted && request.headers.contains_key(FORWARDED) {
        request.remove_header(&FORWARDED);
    }
    let id = match &ctx.request_id {
        RequestId::Own(id) => HeaderValue::from_bytes(id),
        RequestId::Given(id) => HeaderValue::from_str(id),
    };
    if let Ok(id) = id {
        request.insert_header(Bytes::from_static(b"X-Request-Id"), id)?;
    }
    Ok(())
}

/// Tell the backend of the certificate that the client has shown. What the client itself says of one is worth nothing.
pub(super) fn tell_certificate(request: &mut RequestHeader, ctx: &Ctx) -> Result<()> {
    if request.headers.keys().any(|name| ClientCertificate::is_header(name.as_str())) {
        let all = request.headers.keys().filter(|name| ClientCertificate::is_header(name.as_str()));
        for name in all.cloned().collect::<Vec<_>>() {
            request.remove_header(&name);
        }
    }
    if let Some(certificate) = &ctx.client_certificate {
        for (name, value) in certificate.headers() {
            request.insert_header(Bytes::from_static(name.as_bytes()), value.clone())?;
        }
    }
    Ok(())
}

/// The host that the client asked for: `Host`, or in HTTP/2 `:authority`.
fn host(received: &RequestHeader) -> Option<HeaderValue> {
    match received.headers.get(http::header::HOST) {
        Some(host) => Some(host.clone()),
        None => HeaderValue::from_str(received.uri.authority()?.as_str()).ok(),
    }
}

/// The peer, behind what a trusted peer sent itself.
fn forwarded_for(request: &RequestHeader, ctx: &Ctx, peer: IpAddr) -> Result<HeaderValue> {
    use std::fmt::Write;
    let mut value = BytesMut::with_capacity(64);
    if ctx.trusted {
        for line in request.headers.get_all(FOR) {
            value.put_slice(line.as_bytes());
            value.put_slice(b", ");
        }
    }
    // Writing to a growing buffer does not fail.
    let _ = write!(value, "{peer}");
    HeaderValue::from_maybe_shared(value.freeze()).or_err(ErrorType::InternalError, "an address is no header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(FOR, line.parse().unwrap());
        }
        let mut ctx = Ctx::new();
        identify(&mut ctx, Some(peer.parse().unwrap()), &headers, &trusted);
        ctx.client().unwrap().to_string()
    }

    #[test]
    fn the_client_is_the_last_address_that_no_trusted_proxy_has() {
        let nets = ["10.0.0.0/8", "fd00::/8"];
        assert_eq!(client(&nets, "192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        assert_eq!(client(&nets, "10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client(&nets, "10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client(&nets, "10.0.0.1", &["1.1.1.1, 203.0.113.9, 10.9.9.9"]), "203.0.113.9");
        assert_eq!(client(&nets, "10.0.0.1", &["1.1.1.1", "203.0.113.9", "10.9.9.9"]), "203.0.113.9");
        assert_eq!(client(&nets, "10.0.0.1", &["10.1.1.1, 10.2.2.2"]), "10.1.1.1");
        assert_eq!(client(&nets, "10.0.0.1", &["1.1.1.1, unknown, 10.2.2.2"]), "10.2.2.2");
        assert_eq!(client(&nets, "fd00::1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(client(&nets, "::ffff:10.0.0.1", &["203.0.113.9:80"]), "203.0.113.9");
    }
}
