//! The policies of a pool: `sticky`, `max_in_flight`, `queue`, `zone`.

use super::map::Map;
use super::reader::Value;
use super::text::{nearest, quoted};
use super::{Backend, Queue, Sticky, Zone};

/// Read `sticky`.
pub(super) fn sticky(pool: &mut Map<'_>) -> Option<Sticky> {
    let value = pool.get("sticky").filter(|value| !value.is_off())?;
    let mut map = value.map_or("off or a map of keys")?;
    let cookie = map.need("cookie", "cookie: backend").and_then(|v| v.token("the name of a cookie"));
    let ttl = map.get("ttl").and_then(|v| v.duration());
    let secret = map.get("secret_file");
    map.done();
    let at = secret.as_ref().map_or(value.at, |secret| secret.at);
    let secret_file = secret.and_then(|v| v.path());
    Some(Sticky { cookie: cookie?.to_owned(), ttl, secret_file, at })
}

/// Read `max_in_flight` of a pool or a backend.
pub(super) fn max_in_flight(map: &mut Map<'_>) -> Option<u32> {
    let value = map.get("max_in_flight").filter(|value| !value.is_off())?;
    let none = value.scalar() == Some("0");
    let limit = value.whole_or(1..=u32::MAX, if none { " (write off for any number)" } else { "" });
    // A wrong one is a limit all the same: `queue` is not to blame for it.
    limit.or(Some(1))
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
