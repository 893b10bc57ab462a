//! The forms that an address takes in the file.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use super::text::{quoted, short};
use super::{BackendAddress, ListenAddress};

/// The longest path that fits into a `sockaddr_un`, its closing NUL aside.
const MAX_UNIX_PATH: usize = 107;
/// The longest DNS name, in text.
const MAX_NAME: usize = 253;

const BRACKETS: &str = " (an IPv6 address needs brackets and a port, like [::1]:80)";

/// The IPv6 address in brackets.
pub(super) fn literal(text: &str) -> Option<Ipv6Addr> {
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// An address or a range of them. One of IPv4 in the form of IPv6 is one of IPv4, as clients are.
pub(super) fn network(text: &str) -> Option<IpNet> {
    let net = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()?;
    let mapped = net.addr().to_canonical();
    let bits = net.prefix_len().checked_sub(96).filter(|_| net.addr().is_ipv6() && mapped.is_ipv4());
    bits.map_or(Some(net), |bits| IpNet::new(mapped, bits).ok())
}

/// `ip:port`, `[ip]:port`, `:port` or `unix:/path`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn listen(text: &str) -> Result<ListenAddress, String> {
    match text.strip_prefix("unix:") {
        Some(path) => unix(path).map(ListenAddress::Unix),
        None => tcp(text, "ip:port, :port or unix:/path").map(ListenAddress::Tcp),
    }
}

/// `ip:port`, `[ip]:port` or `:port`; `forms` says what is allowed, for the message.
///
/// # Errors
/// What is wrong with it.
pub(super) fn tcp(text: &str, forms: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let wrong = |hint: &str| Err(format!("must be {forms}, got {}{hint}", quoted(text)));
    if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        return Err(format!("must be {forms}, got {t} (write :{t})", t = short(text)));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return wrong(BRACKETS);
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return wrong(" (the port is missing)");
    };
    match (host, digits(port)) {
        ("unix", _) => wrong(" (a Unix socket will not do here)"),
        (_, None) => wrong(" (a port is 0 to 65535)"),
        ("", Some(port)) => Ok(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)),
        ("*", Some(_)) => wrong(&format!(" (write :{port} for every interface)")),
        (host, _) if host.contains(':') => wrong(BRACKETS),
        _ => wrong(" (not an IP address; names are not looked up here)"),
    }
}

/// `ip:port`, `[ip]:port`, `host:port` or `unix:/path`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn backend(text: &str) -> Result<BackendAddress, String> {
    let wrong = |hint: &str| Err(format!("must be ip:port, host:port or unix:/path, got {}{hint}", quoted(text)));
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path).map(BackendAddress::Unix);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return match address.port() {
            0 => wrong(" (a port is 1 to 65535)"),
            _ => Ok(BackendAddress::Ip(address)),
        };
    }
    if text.contains("://") {
        return wrong(" (no scheme and no path: a backend is an address)");
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return wrong(BRACKETS);
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return wrong(" (the port is missing)");
    };
    if host.contains(':') {
        return wrong(BRACKETS);
    }
    let Some(port) = digits(port).filter(|port| *port > 0) else {
        return wrong(" (a port is 1 to 65535)");
    };
    match name(host) {
        Ok(name) => Ok(BackendAddress::Name(name, port)),
        Err(hint) => wrong(&format!(" ({hint})")),
    }
}

/// A DNS name in lower case, without a trailing dot.
///
/// # Errors
/// What is wrong with it, for a hint in brackets.
pub(super) fn name(text: &str) -> Result<String, &'static str> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.len() > MAX_NAME {
        return Err("a name has at most 253 characters");
    }
    let label_fits = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if !name.split('.').all(label_fits) {
        return Err("not a valid host name: labels of letters, digits and inner '-', with dots between");
    }
    let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if numeric && name.parse::<Ipv4Addr>().is_err() {
        return Err("not a valid IP address");
    }
    Ok(name.to_ascii_lowercase())
}

/// The path of a Unix domain socket.
fn unix(path: &str) -> Result<PathBuf, String> {
    if !path.starts_with('/') {
        return Err(format!("must be an absolute path after 'unix:', like unix:/run/app.sock, got {}", quoted(path)));
    }
    if path.len() > MAX_UNIX_PATH {
        return Err(format!("must be a path of at most {MAX_UNIX_PATH} bytes, got {}", path.len()));
    }
    Ok(PathBuf::from(path))
}

/// A port of digits alone: `parse` would take a `+` in front.
fn digits(port: &str) -> Option<u16> {
    port.bytes().all(|b| b.is_ascii_digit()).then(|| port.parse().ok())?
}
