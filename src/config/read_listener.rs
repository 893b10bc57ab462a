//! `listeners`, `trusted_proxies`, `access_log` and `admin`: everything on the client's side of the file.

use ipnet::IpNet;

use super::address;
use super::address::network;
use super::map::Map;
use super::read_tls::{listener_tls, redirect};
use super::reader::{Value, line};
use super::{AccessLog, Admin, ListenAddress, Listener, LogFormat, LogPath};

/// Read `listeners`.
pub(super) fn listeners(top: &mut Map<'_>) -> Vec<Listener> {
    let Some(value) = top.need("listeners", "listeners: [{ address: :8080 }]") else {
        return Vec::new();
    };
    let mut found: Vec<Listener> = Vec::new();
    for item in value.list("listeners").unwrap_or_default() {
        let Some((listener, address)) = listener(&item) else {
            continue;
        };
        if let Some((i, other)) = found.iter().enumerate().find(|(_, other)| clash(&other.address, &listener.address)) {
            let message = format!("{} is taken by listeners[{i}]{}", listener.address, line(other.at));
            address.wrong(message);
        }
        found.push(listener);
    }
    found
}

/// One listener, and the value of its address.
fn listener<'a>(value: &Value<'a>) -> Option<(Listener, Value<'a>)> {
    let mut map = value.map()?;
    let written = map.need("address", "address: :8080");
    let address = written.as_ref().and_then(|v| match address::listen(v.text("ip:port, :port or unix:/path")?) {
        Ok(address) => Some(address),
        Err(message) => {
            v.wrong(message);
            None
        }
    });
    let tls = map.get("tls");
    let h2c = map.get("h2c");
    let to_https = map.get("redirect_to_https");
    let proxy_protocol = map.get("proxy_protocol").filter(|v| !v.is_off()).and_then(|v| proxy_protocol(&v));
    let filters = map.get("filters").map(|v| v.filters()).unwrap_or_default();
    map.done();
    let h2c_set = h2c.as_ref().and_then(Value::boolean).unwrap_or(false);
    if let (Some(h2c), true, true) = (&h2c, h2c_set, tls.is_some()) {
        h2c.wrong("cannot stand beside 'tls': there, clients choose HTTP/2 during the handshake (ALPN); remove it");
    }
    let redirect_to_https = to_https.as_ref().and_then(redirect);
    if let (Some(to_https), true, true) = (&to_https, redirect_to_https.is_some(), tls.is_some()) {
        to_https.wrong("cannot stand beside 'tls': who comes here has come by HTTPS; set it on the plain listener");
    }
    let tls = tls.and_then(|tls| listener_tls(&tls));
    let (proxy_protocol, at) = (proxy_protocol.unwrap_or_default(), value.at.into());
    let listener = Listener { address: address?, tls, h2c: h2c_set, redirect_to_https, proxy_protocol, filters, at };
    Some((listener, written?))
}

/// Whose header of the PROXY protocol is believed. Nobody's by default: whoever may send one may be anybody.
fn proxy_protocol(value: &Value<'_>) -> Option<Vec<IpNet>> {
    let mut map = value.map()?;
    let from = map.need("from", "proxy_protocol: { from: [10.0.0.0/8] }");
    map.done();
    let from = from?;
    let found = networks(&from);
    if found.is_empty() && from.list_or_empty("addresses").is_some_and(|list| list.is_empty()) {
        from.wrong("must name at least one address or range, like [10.0.0.0/8]");
    }
    Some(found)
}

/// Can the second not be bound because of the first? A wildcard takes the port of every address of its family.
fn clash(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one, other) {
        (ListenAddress::Tcp(one), ListenAddress::Tcp(other)) => {
            let wild = one.ip().is_unspecified() || other.ip().is_unspecified();
            one.port() != 0
                && one.port() == other.port()
                && (one.ip() == other.ip() || wild && one.is_ipv4() == other.is_ipv4())
        }
        (one, other) => one == other,
    }
}

/// Read `trusted_proxies`.
pub(super) fn trusted_proxies(top: &mut Map<'_>) -> Vec<IpNet> {
    let Some(value) = top.get("trusted_proxies") else {
        return Vec::new();
    };
    networks(&value)
}

/// Addresses and ranges of them.
pub(super) fn networks(value: &Value<'_>) -> Vec<IpNet> {
    let mut found = Vec::new();
    for item in value.list_or_empty("addresses").unwrap_or_default() {
        let text = item.scalar().unwrap_or_default();
        match network(text) {
            Some(net) => found.push(net),
            None => item.must_be("an IP address or a range of them, like 10.0.0.0/8"),
        }
    }
    found
}

/// Read `access_log`.
pub(super) fn access_log(top: &mut Map<'_>) -> Option<AccessLog> {
    let value = top.get("access_log").filter(|value| !value.is_off())?;
    let mut log = AccessLog { path: LogPath::Stdout, format: LogFormat::Combined };
    if value.scalar().is_some() {
        log.path = log_path(&value)?;
        return Some(log);
    }
    let mut map = value.map()?;
    log.path = map.read("path", log.path, log_path);
    let formats = [("combined", LogFormat::Combined), ("json", LogFormat::Json)];
    log.format = map.read("format", log.format, |value| value.word(&formats));
    map.done();
    Some(log)
}

fn log_path(value: &Value<'_>) -> Option<LogPath> {
    match value.scalar() {
        Some("stdout") => Some(LogPath::Stdout),
        Some("stderr") => Some(LogPath::Stderr),
        _ => value.path().map(LogPath::File),
    }
}

/// Read `admin`, whose address must not be a listener's.
pub(super) fn admin(top: &mut Map<'_>, listeners: &[Listener]) -> Option<Admin> {
    let mut admin = Admin { address: Admin::ADDRESS, at: top.at.into() };
    let value = top.get("admin");
    if let Some(value) = &value {
        if value.is_off() {
            return None;
        }
        let mut map = value.map()?;
        admin.at = value.at.into();
        admin.address = map.read("address", admin.address, |v| {
            let forms = "ip:port or :port";
            address::tcp(v.text(forms)?, forms).map_err(|message| v.wrong(message)).ok()
        });
        map.done();
    }
    let address = ListenAddress::Tcp(admin.address);
    if let Some((i, other)) = listeners.iter().enumerate().find(|(_, other)| clash(&other.address, &address)) {
        let message = format!("{address} is taken by listeners[{i}]{}", line(other.at));
        match value {
            Some(value) => value.wrong(message),
            None => top.wrong(format!("the admin pages' default address {message}; set 'admin'")),
        }
    }
    Some(admin)
}
