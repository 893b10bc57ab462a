//! `tls` and `redirect_to_https` of a listener.

use std::time::Duration;

use super::map::Map;
use super::reader::{Value, line};
use super::{Certificate, ClientAuth, Hsts, ListenerTls, Redirect, TlsVersion};

const PAIR: &str = "certificates: [{ certificate: site.pem, key: site.key }]";

/// Read `tls`.
pub(super) fn listener_tls(value: &Value<'_>) -> Option<ListenerTls> {
    let mut map = value.map()?;
    let list = map.need("certificates", PAIR);
    let clients = client_auth(&mut map);
    let versions = [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];
    let min_version = map.read("min_version", TlsVersion::Tls12, |value| value.word(&versions));
    let hsts = map.get("hsts").filter(|value| !value.is_off()).and_then(|value| hsts(&value));
    map.done();
    let mut certificates: Vec<Certificate> = Vec::new();
    for item in list?.list("certificates")? {
        let Some((found, written)) = certificate(&item) else { continue };
        let same = |other: &Certificate| other.certificate == found.certificate;
        if let Some((i, other)) = certificates.iter().enumerate().find(|(_, other)| same(other)) {
            written.wrong(format!("is certificates[{i}]{} already", line(other.at)));
        }
        certificates.push(found);
    }
    Some(ListenerTls { certificates, clients, min_version, hsts })
}

fn certificate<'a>(value: &Value<'a>) -> Option<(Certificate, Value<'a>)> {
    let mut pair = value.map()?;
    let certificate = pair.need("certificate", "certificate: site.pem");
    let key = pair.need("key", "key: site.key");
    pair.done();
    let written = certificate?;
    let (path, key) = (written.path(), key?.path());
    Some((Certificate { certificate: path?, key: key?, at: written.at.into() }, written))
}

fn client_auth(map: &mut Map<'_>) -> Option<ClientAuth> {
    let ca = map.get("client_ca").filter(|value| !value.is_off());
    let auth = map.get("client_auth");
    if let (Some(auth), None) = (&auth, &ca) {
        auth.wrong("does nothing without 'client_ca', which says who may have signed the clients' certificates");
    }
    let required = auth.and_then(|value| value.word(&[("required", true), ("optional", false)]));
    let ca = ca?;
    Some(ClientAuth { ca: ca.path()?, required: required.unwrap_or(true), at: ca.at.into() })
}

fn hsts(value: &Value<'_>) -> Option<Hsts> {
    let age = |value: &Value<'_>| value.duration_within(Duration::ZERO, Hsts::MAX_AGE);
    if value.scalar().is_some() {
        return Some(Hsts { max_age: age(value)?, include_subdomains: false, preload: false });
    }
    let mut map = value.map_or("off, a duration or a map of keys")?;
    let max_age = map.need("max_age", "max_age: 365d").and_then(|value| age(&value));
    let include_subdomains = map.read("include_subdomains", false, Value::boolean);
    let preload = map.get("preload");
    map.done();
    let preloads = preload.as_ref().and_then(Value::boolean).unwrap_or(false);
    if let Some(preload) = preload.filter(|_| preloads)
        && max_age.is_some_and(|age| age < Hsts::PRELOAD_AGE || !include_subdomains)
    {
        preload.wrong("needs 'include_subdomains: true' and a 'max_age' of at least 365d: no list takes it otherwise");
    }
    Some(Hsts { max_age: max_age?, include_subdomains, preload: preloads })
}

/// Read `redirect_to_https`.
pub(super) fn redirect(value: &Value<'_>) -> Option<Redirect> {
    const FORMS: &str = "true, a port or a map of keys";
    let default = Redirect::default();
    match value.scalar() {
        Some("false" | "off") => return None,
        Some("true") => return Some(default),
        Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => {
            return Some(Redirect { port: value.whole(1..=u16::MAX)?, ..default });
        }
        Some(_) => {
            value.must_be(FORMS);
            return None;
        }
        None => {}
    }
    let mut map = value.map_or(FORMS)?;
    let port = map.read("port", default.port, |value| value.whole(1..=u16::MAX));
    let statuses = [("301", 301), ("302", 302), ("307", 307), ("308", 308)];
    let status = map.read("status", default.status, |value| value.word(&statuses));
    map.done();
    Some(Redirect { port, status })
}
