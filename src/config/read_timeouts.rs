//! `timeouts` of a pool and of a route, and the header that tells a backend what is left.

use std::time::Duration;

use super::map::Map;
use super::reader::Value;
use super::{RouteTimeouts, Timeouts};

/// Read `timeouts` of a pool.
pub(super) fn pool_timeouts(value: &Value<'_>) -> Option<Timeouts> {
    let mut map = value.map()?;
    let default = Timeouts::default();
    let timeouts = Timeouts {
        connect: map.read("connect", default.connect, Value::duration),
        read: map.read("read", default.read, Value::duration),
        write: map.read("write", default.write, Value::duration),
        idle: map.read("idle", default.idle, Value::duration),
        request: map.read("request", default.request, Value::duration),
        tunnel: map.read("tunnel", default.tunnel, Value::duration),
        drain: map.read("drain", default.drain, Value::duration),
    };
    map.done();
    Some(timeouts)
}

/// Read `timeouts` of a route: those that a kind of request has, not those of the way to a backend.
pub(super) fn route_timeouts(value: &Value<'_>) -> Option<RouteTimeouts> {
    let mut map = value.map()?;
    let duration = |map: &mut Map<'_>, key| -> Option<Duration> { map.get(key)?.duration() };
    let timeouts = RouteTimeouts {
        read: duration(&mut map, "read"),
        request: duration(&mut map, "request"),
        tunnel: duration(&mut map, "tunnel"),
    };
    map.done_with("; allowed here: read, request or tunnel; the others are the pool's");
    Some(timeouts)
}

/// The name of a header that we may set: those that we or HTTP give a meaning are not for it.
pub(super) fn header(value: &Value<'_>) -> Option<String> {
    const OURS: [&str; 12] = [
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "te",
        "upgrade",
        "trailer",
        "keep-alive",
        "x-request-id",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
    ];
    let name = value.token("the name of a header, like X-Request-Timeout-Ms")?.to_ascii_lowercase();
    if OURS.contains(&name.as_str()) {
        value.wrong(format!("cannot be {name}, which has a meaning of its own"));
        return None;
    }
    Some(name)
}
