//! Who the client is, and what a backend is told of it: `X-Forwarded-*`, `Forwarded`, `X-Real-IP`, `X-Request-Id`.
//!
//! A peer of `trusted_proxies` is believed: what it sent is kept and added to. Nobody else is: what they sent is replaced, or
//! removed. `forwarded_headers` says which, header by header.

use std::net::IpAddr;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use pingora::http::RequestHeader;
use pingora_core::{ErrorType, OrErr, Result};

use super::rfc7239;
use crate::config::{ForwardedHeaders, Told};
use crate::filter::{Ctx, RequestId, authority};
use crate::terms::ClientCertificate;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const REQUEST_ID: &str = "x-request-id";

/// Note in `ctx` who the client is.
pub(super) fn identify(
    ctx: &mut Ctx,
    peer: Option<IpAddr>,
    headers: &HeaderMap,
    trusted: &[IpNet],
    policy: &ForwardedHeaders,
) {
    let believed = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    let peer = peer.map(|address| address.to_canonical());
    ctx.trusted = !trusted.is_empty() && peer.as_ref().is_some_and(believed);
    ctx.client = peer;
    ctx.request_id = RequestId::Own([b'0'; 32]);
    if ctx.trusted {
        // Whoever puts up with `Forwarded` in what a proxy passes on would believe what its clients say in it.
        let behind = match policy.forwarded == Told::Append && headers.contains_key(FORWARDED) {
            true => client_of_forwarded(headers, believed),
            false => client_behind(headers, believed),
        };
        ctx.client = behind.or(peer);
        if let Some(given) = RequestId::given(headers, REQUEST_ID) {
            ctx.request_id = given;
            return;
        }
    }
    ctx.request_id = RequestId::random();
}

/// The last address of `X-Forwarded-For` that is not a trusted proxy's; the first if all are.
fn client_behind(headers: &HeaderMap, believed: impl Fn(&IpAddr) -> bool) -> Option<IpAddr> {
    let lines = headers.get_all(&FOR).iter().rev();
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

/// The same of `Forwarded`.
fn client_of_forwarded(headers: &HeaderMap, believed: impl Fn(&IpAddr) -> bool) -> Option<IpAddr> {
    let mut last = None;
    for line in headers.get_all(FORWARDED).iter().rev() {
        let Some(clients) = line.to_str().ok().and_then(rfc7239::clients) else { return last };
        for address in clients.into_iter().rev() {
            let Some(address) = address else { return last };
            if !believed(&address) {
                return Some(address);
            }
            last = Some(address);
        }
    }
    last
}

/// An address, with or without a port, as proxies write it.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok();
    let with_port = || text.parse().ok().map(|a: std::net::SocketAddr| a.ip());
    address.or_else(with_port).map(|a: IpAddr| a.to_canonical())
}

/// What is known of a connection and of what came on it.
pub(super) struct Received<'a> {
    pub(super) peer: Option<IpAddr>,
    pub(super) tls: bool,
    pub(super) header: &'a RequestHeader,
}

impl Received<'_> {
    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

/// Tell the backend who the client is and what it asked for.
pub(super) fn tell(
    request: &mut RequestHeader,
    ctx: &Ctx,
    received: &Received<'_>,
    policy: &ForwardedHeaders,
) -> Result<()> {
    tell_x_forwarded(request, ctx, received, policy.x_forwarded)?;
    if replaced(request, ctx, &PORT, policy.x_forwarded_port) {
        request.insert_header(Bytes::from_static(b"X-Forwarded-Port"), port(received))?;
    }
    tell_forwarded(request, ctx, received, policy.forwarded)?;
    if replaced(request, ctx, &REAL_IP, policy.x_real_ip)
        && let Some(client) = ctx.client
    {
        request.insert_header(Bytes::from_static(b"X-Real-IP"), client.to_string())?;
    }
    if let Ok(id) = HeaderValue::from_str(ctx.request_id.as_str()) {
        request.insert_header(Bytes::from_static(b"X-Request-Id"), id)?;
    }
    tell_certificate(request, ctx)
}

/// Whether one of ours is to take its place. If not, and nobody is to be believed, it is gone by now.
fn replaced(request: &mut RequestHeader, ctx: &Ctx, name: &HeaderName, told: Told) -> bool {
    let keeps = ctx.trusted && matches!(told, Told::Append | Told::Keep);
    if !request.headers.contains_key(name) {
        return matches!(told, Told::Append | Told::Set);
    }
    if keeps {
        return false;
    }
    request.remove_header(name);
    matches!(told, Told::Append | Told::Set)
}

fn tell_x_forwarded(request: &mut RequestHeader, ctx: &Ctx, received: &Received<'_>, told: Told) -> Result<()> {
    let adds = told == Told::Append && ctx.trusted;
    match received.peer {
        Some(peer) if matches!(told, Told::Append | Told::Set) => {
            let value = forwarded_for(request, adds, peer.to_canonical())?;
            request.insert_header(Bytes::from_static(b"X-Forwarded-For"), value)?;
        }
        _ if told == Told::Keep && ctx.trusted => {}
        _ => drop(request.remove_header(&FOR)),
    }
    if replaced(request, ctx, &PROTO, told) {
        let scheme = HeaderValue::from_static(received.scheme());
        request.insert_header(Bytes::from_static(b"X-Forwarded-Proto"), scheme)?;
    }
    if replaced(request, ctx, &HOST, told)
        && let Some(host) = host(received.header)
    {
        request.insert_header(Bytes::from_static(b"X-Forwarded-Host"), host)?;
    }
    Ok(())
}

/// The port that the client asked for.
fn port(received: &Received<'_>) -> HeaderValue {
    let authority = authority(received.header).unwrap_or_default();
    let written = authority.rsplit_once(':').map(|(_, port)| port).and_then(|port| port.parse::<u16>().ok());
    HeaderValue::from(written.unwrap_or(if received.tls { 443 } else { 80 }))
}

fn tell_forwarded(request: &mut RequestHeader, ctx: &Ctx, received: &Received<'_>, told: Told) -> Result<()> {
    if matches!(told, Told::Keep | Told::Drop) {
        replaced(request, ctx, &FORWARDED, told);
        return Ok(());
    }
    let mut value = String::new();
    if told == Told::Append && ctx.trusted {
        // What is wrong in itself would make the whole of it wrong.
        let lines = request.headers.get_all(FORWARDED).iter().filter_map(|line| line.to_str().ok());
        for line in lines.filter(|line| rfc7239::clients(line).is_some()) {
            value.push_str(line.trim());
            value.push_str(", ");
        }
    }
    let peer = received.peer.map(|peer| peer.to_canonical());
    value.push_str(&rfc7239::element(peer, authority(received.header), received.scheme()));
    request.insert_header(FORWARDED, value)?;
    Ok(())
}

/// Tell the backend of the certificate that the client has shown. What the client itself says of one is worth nothing.
fn tell_certificate(request: &mut RequestHeader, ctx: &Ctx) -> Result<()> {
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
fn forwarded_for(request: &RequestHeader, adds: bool, peer: IpAddr) -> Result<HeaderValue> {
    use std::fmt::Write;
    let mut value = BytesMut::with_capacity(64);
    if adds {
        for line in request.headers.get_all(&FOR) {
            value.put_slice(line.as_bytes());
            value.put_slice(b", ");
        }
    }
    // Writing to a growing buffer does not fail.
    let _ = write!(value, "{peer}");
    HeaderValue::from_maybe_shared(value.freeze()).or_err(ErrorType::InternalError, "an address is no header value")
}

#[cfg(test)]
mod tests;
