//! `limits`: how much a client may ask for.

use super::Limits;
use super::map::Map;
use super::reader::Value;

/// More of anything than a machine has.
const MANY: u64 = 1 << 32;

/// Read `limits`.
pub(super) fn limits(top: &mut Map<'_>) -> Limits {
    let default = Limits::default();
    let Some(mut map) = top.get("limits").and_then(|value| value.map()) else {
        return default;
    };
    let some = |map: &mut Map<'_>, key, default, read: fn(&Value<'_>) -> Option<u64>| match map.get(key) {
        Some(value) if value.is_off() => None,
        Some(value) => read(&value).or(default),
        None => default,
    };
    let number: fn(&Value<'_>) -> Option<u64> = |value| value.whole(1..=MANY);
    let limits = Limits {
        handshake_timeout: map.read("handshake_timeout", default.handshake_timeout, Value::duration),
        header_timeout: map.read("header_timeout", default.header_timeout, Value::duration),
        idle_timeout: map.read("idle_timeout", default.idle_timeout, Value::duration),
        body_timeout: map.read("body_timeout", default.body_timeout, Value::duration),
        write_timeout: map.read("write_timeout", default.write_timeout, Value::duration),
        min_body_rate: some(&mut map, "min_body_rate", default.min_body_rate, |value| value.size()),
        max_header_size: map.read("max_header_size", default.max_header_size, |value| {
            bounded(value, Limits::MOST_HEADER_SIZE, "1MiB, which is Pingora's limit")
        }),
        max_headers: map.read("max_headers", default.max_headers, |value| value.whole(1..=Limits::MOST_HEADERS)),
        max_uri_size: map.read("max_uri_size", default.max_uri_size, |value| {
            bounded(value, Limits::MOST_HEADER_SIZE, "1MiB, which is Pingora's limit of a header")
        }),
        max_body_size: some(&mut map, "max_body_size", default.max_body_size, |value| value.size()),
        max_connections: some(&mut map, "max_connections", default.max_connections, number),
        max_connections_per_ip: some(&mut map, "max_connections_per_ip", default.max_connections_per_ip, number),
        max_requests_per_connection: some(
            &mut map,
            "max_requests_per_connection",
            default.max_requests_per_connection,
            number,
        ),
        max_streams: map.read("max_streams", default.max_streams, |value| value.whole(1..=100_000)),
    };
    map.done();
    limits
}

/// A size up to a limit.
fn bounded(value: &Value<'_>, most: u64, what: &str) -> Option<u64> {
    let size = value.size()?;
    if size > most {
        value.wrong(format!("must be at most {what}"));
        return None;
    }
    Some(size)
}
