//! `protocol`, `http2`, `tls`, `proxy_protocol` and `grpc_web` of a pool, and what its health check takes over of them.

use std::collections::BTreeSet;

use super::map::Map;
use super::read_probe::server_name;
use super::reader::Value;
use super::{
    Backend, BackendAddress, BackendTls, ClientCertificate, Http2, ProbeTls, Protocol, ProxyProtocol, Transport,
};

/// Read them; `backends` are those of the pool, if they could be read and are in the file.
pub(super) fn transport(pool: &mut Map<'_>, backends: Option<&[Backend]>) -> Transport {
    let tls_at = pool.get("tls");
    let encrypted = tls_at.as_ref().is_some_and(|value| !value.is_off());
    let tls = tls_at.filter(|value| !value.is_off()).and_then(|value| tls(&value, backends.unwrap_or_default()));
    let words = [("h1", Protocol::H1), ("h2", Protocol::H2), ("auto", Protocol::Auto)];
    let protocol_at = pool.get("protocol");
    let protocol = protocol_at.as_ref().and_then(|value| value.word(&words)).unwrap_or_default();
    if let Some(value) = protocol_at.filter(|_| protocol == Protocol::Auto && !encrypted) {
        value.wrong("auto needs 'tls', in which the backend chooses; without it, write h1 or h2");
    }
    let http2_at = pool.get("http2");
    if let Some(value) = http2_at.as_ref().filter(|_| protocol == Protocol::H1) {
        value.wrong("does nothing beside protocol: h1; write protocol: h2 or auto");
    }
    let versions = [("v1", ProxyProtocol::V1), ("v2", ProxyProtocol::V2)];
    let announced = pool.get("proxy_protocol").filter(|value| !value.is_off());
    Transport {
        protocol,
        http2: http2_at.and_then(|value| http2(&value)).unwrap_or_default(),
        tls,
        proxy_protocol: announced.and_then(|value| value.word(&versions)),
    }
}

/// Read `grpc_web`.
pub(super) fn grpc_web(pool: &mut Map<'_>, transport: &Transport) -> bool {
    let Some(value) = pool.get("grpc_web") else {
        return false;
    };
    let wanted = if value.is_off() { false } else { value.boolean().unwrap_or_default() };
    if wanted && transport.protocol == Protocol::H1 {
        value.wrong("needs protocol: h2 or auto: gRPC is spoken in HTTP/2");
    }
    wanted
}

fn http2(value: &Value<'_>) -> Option<Http2> {
    let mut map = value.map()?;
    let default = Http2::default();
    let http2 = Http2 {
        max_streams: map.read("max_streams", default.max_streams, |v| v.whole(1..=Http2::MOST_STREAMS)),
        ping: map.get("ping").filter(|v| !v.is_off()).and_then(|v| v.duration()),
    };
    map.done();
    Some(http2)
}

/// `true` is the same as `{}`.
fn tls(value: &Value<'_>, backends: &[Backend]) -> Option<BackendTls> {
    if value.scalar() == Some("true") {
        let tls = BackendTls { at: value.at.into(), ..BackendTls::default() };
        named(value, &tls, backends);
        return Some(tls);
    }
    let mut map = value.map_or("true, off or a map of keys")?;
    let name = map.get("server_name");
    let ca = map.get("ca");
    let insecure_skip_verify = map.read("insecure_skip_verify", false, Value::boolean);
    if let Some(ca) = ca.as_ref().filter(|_| insecure_skip_verify) {
        ca.wrong("cannot stand beside insecure_skip_verify: nothing is verified");
    }
    let client = match (map.get("certificate"), map.get("key")) {
        (Some(certificate), Some(key)) => Some((certificate.path(), key.path())),
        (Some(alone), None) => {
            alone.wrong("needs 'key' beside it");
            None
        }
        (None, Some(alone)) => {
            alone.wrong("needs 'certificate' beside it");
            None
        }
        (None, None) => None,
    };
    map.done();
    let tls = BackendTls {
        server_name: name.as_ref().and_then(server_name),
        ca: ca.and_then(|v| v.path()),
        client: client.and_then(|(certificate, key)| Some(ClientCertificate { certificate: certificate?, key: key? })),
        insecure_skip_verify,
        at: value.at.into(),
    };
    if name.is_none() {
        named(value, &tls, backends);
    }
    Some(tls)
}

/// A certificate must be for somebody, and a socket has neither a name nor an address.
fn named(value: &Value<'_>, tls: &BackendTls, backends: &[Backend]) {
    let nameless = backends.iter().find(|backend| matches!(backend.address, BackendAddress::Unix(_)));
    if let Some(backend) = nameless.filter(|_| !tls.insecure_skip_verify) {
        let address = &backend.address;
        value.wrong(format!(
            "needs 'server_name', like server_name: api.internal: nothing says whom the certificate of {address} must be for"
        ));
    }
}

/// What the probes of a pool's health check take over of the way that its requests go.
#[derive(Clone, Debug, Default)]
pub(super) struct Usual {
    pub(super) http2: bool,
    pub(super) tls: Option<ProbeTls>,
    /// The backends have several names, and `tls` says no one of them.
    pub(super) ambiguous: bool,
    pub(super) proxy_protocol: Option<ProxyProtocol>,
}

impl Usual {
    pub(super) fn of(transport: &Transport, backends: Option<&[Backend]>) -> Self {
        let names: BTreeSet<Option<&str>> = backends.unwrap_or_default().iter().map(name).collect();
        let tls = transport.tls.as_ref();
        let unnamed = tls.is_some_and(|tls| tls.server_name.is_none() && !tls.insecure_skip_verify);
        let only = || names.first().copied().flatten().map(str::to_owned);
        Usual {
            http2: transport.protocol == Protocol::H2,
            ambiguous: unnamed && names.len() > 1,
            tls: tls.map(|tls| ProbeTls {
                server_name: tls.server_name.clone().or_else(only),
                ca: tls.ca.clone(),
                client: tls.client.clone(),
                insecure_skip_verify: tls.insecure_skip_verify,
            }),
            proxy_protocol: transport.proxy_protocol,
        }
    }
}

fn name(backend: &Backend) -> Option<&str> {
    match &backend.address {
        BackendAddress::Name(name, _) => Some(name),
        BackendAddress::Ip(_) | BackendAddress::Unix(_) => None,
    }
}
