//! The probes of `health_check`: what `tcp`, `http` and `grpc` hold.

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method};

use super::map::Map;
use super::read_transport::Usual;
use super::reader::Value;
use super::{GrpcProbe, HttpProbe, HttpProtocol, Probe, ProbeTls, address};

pub(super) fn tcp(value: &Value<'_>) -> Option<Probe> {
    if !value.is_null() {
        value.map_or("{}, it has no options")?.done_with(": tcp has no options");
    }
    Some(Probe::Tcp)
}

/// `usual` is what a probe takes over of its pool.
pub(super) fn http(value: &Value<'_>, usual: &Usual) -> Option<HttpProbe> {
    let protocol = if usual.http2 { HttpProtocol::H2 } else { HttpProtocol::H1 };
    let default =
        HttpProbe { protocol, tls: usual.tls.clone(), proxy_protocol: usual.proxy_protocol, ..HttpProbe::default() };
    if value.is_null() {
        unambiguous(value, usual);
        return Some(default);
    }
    let mut map = value.map()?;
    let port = map.get("port").and_then(|v| v.whole(1..=u16::MAX));
    let path = map.read("path", default.path, target);
    let written = map.get("method").and_then(|v| method(&v));
    let send = map.get("send").and_then(|v| v.text("the text of a request's body")).map(str::to_owned);
    let common = if send.is_some() { Method::POST } else { default.method };
    let probe = HttpProbe {
        path,
        method: written.unwrap_or(common),
        headers: map.read("headers", default.headers, headers),
        send,
        expect: map.read("expect", default.expect, expect),
        host: map.get("host").and_then(|v| v.host()),
        port,
        body: map.get("body").and_then(|v| v.regex()),
        max_body: map.read("max_body", default.max_body, Value::size),
        protocol: map.read("protocol", if port.is_none() { default.protocol } else { HttpProtocol::H1 }, |v| {
            v.word(&[("h1", HttpProtocol::H1), ("h2", HttpProtocol::H2)])
        }),
        tls: tls(&mut map, value, usual, port),
        proxy_protocol: default.proxy_protocol.filter(|_| port.is_none()),
    };
    if probe.method == Method::HEAD
        && let Some(value) = map.get("body")
    {
        value.wrong("cannot match anything: what answers a HEAD has no body");
    }
    map.done();
    Some(probe)
}

/// `usual` is what a probe takes over of its pool.
pub(super) fn grpc(value: &Value<'_>, usual: &Usual) -> Option<GrpcProbe> {
    if value.is_null() {
        unambiguous(value, usual);
        let (tls, proxy_protocol) = (usual.tls.clone(), usual.proxy_protocol);
        return Some(GrpcProbe { tls, proxy_protocol, ..GrpcProbe::default() });
    }
    let mut map = value.map()?;
    let port = map.get("port").and_then(|v| v.whole(1..=u16::MAX));
    let service = map.get("service").and_then(|v| v.text("the full name of a service, like shop.v1.Orders"));
    let probe = GrpcProbe {
        service: service.unwrap_or_default().to_owned(),
        host: map.get("host").and_then(|v| v.host()),
        port,
        tls: tls(&mut map, value, usual, port),
        proxy_protocol: usual.proxy_protocol.filter(|_| port.is_none()),
    };
    map.done();
    Some(probe)
}

/// Without `server_name`, the certificate of each backend is for its own name; a probe knows but one.
fn unambiguous(probe: &Value<'_>, usual: &Usual) {
    if usual.ambiguous {
        probe.wrong(
            "needs 'tls' of its own with server_name, or tls: off: the backends of the pool have several names, and a probe knows one",
        );
    }
}

/// `tls` of a probe, beside its `host`; without it that of its pool, unless another port is asked.
fn tls(probe: &mut Map<'_>, at: &Value<'_>, usual: &Usual, port: Option<u16>) -> Option<ProbeTls> {
    let Some(value) = probe.get("tls") else {
        if port.is_none() {
            unambiguous(at, usual);
        }
        return usual.tls.clone().filter(|_| port.is_none());
    };
    if value.is_off() {
        return None;
    }
    let mut map = value.map_or("off or a map of keys")?;
    let written = map.get("server_name");
    let name = match (&written, probe.get("host").and_then(|v| v.scalar())) {
        (Some(value), _) => server_name(value),
        (None, host) => host.map(|host| without_port(host).to_owned()),
    };
    let insecure_skip_verify = map.read("insecure_skip_verify", false, Value::boolean);
    let ca = map.get("ca");
    if insecure_skip_verify {
        if let Some(ca) = &ca {
            ca.wrong("cannot stand beside insecure_skip_verify: nothing is verified");
        }
    } else if written.is_none() && name.is_none() {
        map.wrong("needs 'server_name', like server_name: api.internal, or 'host' beside 'tls': the certificate is verified against it");
    }
    let ca = ca.and_then(|v| v.path());
    map.done();
    let client = usual.tls.as_ref().and_then(|tls| tls.client.clone()).filter(|_| port.is_none());
    Some(ProbeTls { server_name: name, ca, client, insecure_skip_verify })
}

/// A name or an IP address that a certificate may be for.
pub(super) fn server_name(value: &Value<'_>) -> Option<String> {
    let form = "a host name or an IP address, without a port";
    let text = value.text(form)?;
    if address::name(text).is_err() && text.parse::<std::net::IpAddr>().is_err() {
        value.must_be(form);
        return None;
    }
    Some(text.to_owned())
}

/// `name`, `name:80` and `[::1]:80` as a certificate has them.
fn without_port(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    name.trim_matches(['[', ']'])
}

/// Any method but those that ask for something else than an answer.
fn method(value: &Value<'_>) -> Option<Method> {
    let form = "a method in capitals, like GET, HEAD or POST";
    let text = value.text(form)?;
    let capitals = text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
    match Method::from_bytes(text.as_bytes()) {
        Ok(method) if capitals && method != Method::CONNECT => Some(method),
        _ => {
            value.must_be(form);
            None
        }
    }
}

/// Those that say how a message is framed, which is the check's business.
const OURS: [HeaderName; 7] = [CONNECTION, CONTENT_LENGTH, EXPECT, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

/// Headers by their names. No message shows a value: it may be a secret.
fn headers(value: &Value<'_>) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let mut found: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for entry in value.entries("a map of headers by their names")? {
        let one = value.child(entry);
        let Ok(name) = HeaderName::from_bytes(entry.key.as_bytes()) else {
            one.wrong("is not the name of a header");
            continue;
        };
        let written = one.scalar().and_then(|text| HeaderValue::from_str(text).ok());
        if name == HOST {
            one.wrong("is set by 'host', beside 'headers'");
        } else if OURS.contains(&name) {
            one.wrong("is set by the check itself");
        } else if found.iter().any(|(other, _)| *other == name) {
            one.wrong("is there twice: case makes no difference");
        } else if let Some(written) = written {
            found.push((name, written));
        } else {
            one.wrong("must be a text of one line");
        }
    }
    Some(found)
}

/// What follows the method in the request line.
fn target(value: &Value<'_>) -> Option<String> {
    let form = "a path that starts with '/', without spaces";
    let text = value.text(form)?;
    // What would be cut off is refused as well: a fragment is never sent.
    let whole = PathAndQuery::try_from(text).is_ok_and(|path| path.as_str() == text);
    if !text.starts_with('/') || !whole {
        value.must_be(form);
        return None;
    }
    Some(text.to_owned())
}

/// One status or range, or a list of them.
fn expect(value: &Value<'_>) -> Option<Vec<(u16, u16)>> {
    if value.scalar().is_some() {
        return Some(vec![range(value)?]);
    }
    value.list("statuses")?.iter().map(range).collect()
}

fn range(value: &Value<'_>) -> Option<(u16, u16)> {
    let text = value.scalar().unwrap_or_default();
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    match (low.trim().parse(), high.trim().parse()) {
        (Ok(low), Ok(high)) if 100 <= low && low <= high && high <= 599 => Some((low, high)),
        _ => {
            value.must_be("a status from 100 to 599, like 200, or a range of them, like 200-299");
            None
        }
    }
}
