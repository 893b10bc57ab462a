//! The policies of a pool: `sticky`, `max_in_flight`, `max_connections`, `concurrency`, `queue`, `zone`.

use std::time::Duration;

use super::map::Map;
use super::reader::Value;
use super::text::{nearest, quoted};
use super::{Adaptive, Backend, Queue, Sticky, Zone};

/// Read `sticky`.
pub(super) fn sticky(pool: &mut Map<'_>) -> Option<Sticky> {
    let value = pool.get("sticky").filter(|value| !value.is_off())?;
    let mut map = value.map_or("off or a map of keys")?;
    let cookie = map.need("cookie", "cookie: backend").and_then(|v| v.token("the name of a cookie"));
    let ttl = map.get("ttl").and_then(|v| v.duration());
    let drain_grace = map.read("drain_grace", Sticky::DRAIN_GRACE, duration_or_off);
    let secret = map.get("secret_file");
    map.done();
    let at = secret.as_ref().map_or(value.at, |secret| secret.at);
    let secret_file = secret.and_then(|v| v.path());
    Some(Sticky { cookie: cookie?.to_owned(), ttl, drain_grace, secret_file, at: at.into() })
}

fn duration_or_off(value: &Value<'_>) -> Option<Duration> {
    if value.is_off() { Some(Duration::ZERO) } else { value.duration() }
}

/// Read `max_in_flight` of a pool or a backend, or `max_connections`.
pub(super) fn limit(map: &mut Map<'_>, name: &'static str) -> Option<u32> {
    let value = map.get(name).filter(|value| !value.is_off())?;
    let none = value.scalar() == Some("0");
    let limit = value.whole_or(1..=u32::MAX, if none { " (write off for any number)" } else { "" });
    // A wrong one is a limit all the same: `queue` is not to blame for it.
    limit.or(Some(1))
}

/// Read `concurrency`: `adaptive`, or `{ adaptive: options }`.
pub(super) fn concurrency(pool: &mut Map<'_>) -> Option<Adaptive> {
    const FORMS: &str = "off, adaptive or { adaptive: { min: 4, max: 1000 } }";
    let value = pool.get("concurrency").filter(|value| !value.is_off())?;
    let default = Adaptive::default();
    if let Some(text) = value.scalar() {
        match text {
            "adaptive" => return Some(default),
            // A limit that stands still has a key of its own.
            number if number.parse::<u64>().is_ok() => {
                value.wrong(format!("must be {FORMS}, got {number} (a fixed limit is max_in_flight: {number})"));
            }
            _ => value.must_be(FORMS),
        }
        return None;
    }
    let mut forms = value.map_or(FORMS)?;
    let options = forms.need("adaptive", "adaptive: { max: 1000 }");
    forms.done();
    let options = options?;
    if options.is_null() {
        return Some(default);
    }
    let mut map = options.map()?;
    let (min, max) = (map.get("min"), map.get("max"));
    map.done();
    let range = 1..=Adaptive::MOST;
    let read =
        |value: &Option<Value<'_>>, default| value.as_ref().and_then(|v| v.whole(range.clone())).unwrap_or(default);
    // Whoever writes a small `max` alone means that, and not that `min` is wrong.
    let found = read(&max, default.max);
    let least = read(&min, default.min.min(found));
    match min.as_ref().or(max.as_ref()) {
        Some(value) if least > found => value.wrong(format!("must be at most 'max', {found}, got {least}")),
        _ => {}
    }
    Some(Adaptive { min: least, max: found })
}

/// Read `queue`; `limited` says whether there is a limit that one could wait for.
pub(super) fn queue(pool: &mut Map<'_>, limited: bool) -> Option<Queue> {
    let value = pool.get("queue").filter(|value| !value.is_off())?;
    let mut map = value.map_or("off or a map of keys")?;
    let default = Queue::default();
    let queue = Queue {
        size: map.read("size", default.size, |v| v.whole(1..=Queue::MAX_SIZE)),
        timeout: map.read("timeout", default.timeout, Value::duration),
    };
    map.done();
    if !limited {
        value.wrong("does nothing without 'max_in_flight' on the pool or on a backend");
    }
    Some(queue)
}

/// Read `zone` of a pool; `backends` are the pool's, if the file has them all.
pub(super) fn zone(pool: &mut Map<'_>, backends: Option<&[Backend]>) -> Option<Zone> {
    let value = pool.get("zone").filter(|value| !value.is_off())?;
    let (written, minimum) = if value.scalar().is_some() {
        (value, Zone::MINIMUM)
    } else {
        let mut map = value.map_or("off, the name of a zone or a map of keys")?;
        let written = map.need("name", "name: eu-1a");
        let minimum = map.read("minimum", Zone::MINIMUM, |v| v.percent(0..=100));
        map.done();
        (written?, minimum)
    };
    let name = written.name("the name of a zone")?;
    if let Some(backends) = backends {
        must_exist(&written, name, backends);
    }
    Some(Zone { name: name.to_owned(), minimum })
}

fn must_exist(written: &Value<'_>, name: &str, backends: &[Backend]) {
    let zones = || backends.iter().filter_map(|backend| backend.zone.as_deref());
    if !zones().any(|zone| zone == name) {
        let hint = nearest(name, zones()).map(|near| format!(", did you mean {}?", quoted(near))).unwrap_or_default();
        written.wrong(format!("no backend of this pool is in zone {}{hint}", quoted(name)));
    }
}
