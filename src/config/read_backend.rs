//! `backends` of a pool: addresses, with what each has beside it.

use std::collections::HashMap;

use super::map::Map;
use super::read_policy::limit;
use super::reader::{Value, line};
use super::{Backend, BackendAddress, Position, address};

/// Read the value of `backends`.
pub(super) fn backends(value: &Value<'_>) -> Option<Vec<Backend>> {
    let mut found = Vec::new();
    let mut seen: HashMap<BackendAddress, (usize, Position)> = HashMap::new();
    for (i, item) in value.list("backends")?.into_iter().enumerate() {
        let Some((backend, address)) = backend(&item) else {
            continue;
        };
        match seen.get(&backend.address) {
            Some((first, at)) => address.wrong(format!(
                "{} is backends[{first}]{} already; give it a weight for more traffic",
                backend.address,
                line(*at)
            )),
            None => {
                seen.insert(backend.address.clone(), (i, item.at));
            }
        }
        found.push(backend);
    }
    Some(found)
}

/// One backend, and the value of its address.
fn backend<'a>(value: &Value<'a>) -> Option<(Backend, Value<'a>)> {
    let at = value.at;
    if value.scalar().is_some() {
        let address = address(value)?;
        let backend = Backend { address, weight: 1, zone: None, priority: 0, max_in_flight: None, at: at.into() };
        return Some((backend, value.clone()));
    }
    let mut map = value.map_or("an address or a map of keys")?;
    let written = map.need("address", "address: 127.0.0.1:8001");
    let address = written.as_ref().and_then(address);
    let weight = map.read("weight", 1, |v| {
        let drained = v.scalar() == Some("0");
        v.whole_or(1..=Backend::MAX_WEIGHT, if drained { " (to stop traffic to a backend, drain it)" } else { "" })
    });
    let zone = map.get("zone").and_then(|v| v.name("the name of a zone"));
    let priority = priority(&mut map);
    let max_in_flight = limit(&mut map, "max_in_flight");
    map.done();
    let zone = zone.map(str::to_owned);
    Some((Backend { address: address?, weight, zone, priority, max_in_flight, at: at.into() }, written?))
}

fn address(written: &Value<'_>) -> Option<BackendAddress> {
    let text = written.text("ip:port, host:port or unix:/path")?;
    address::backend(text).map_err(|message| written.wrong(message)).ok()
}

/// `priority` or `backup`, which are two ways to say the same.
fn priority(map: &mut Map<'_>) -> u8 {
    let (priority, backup) = (map.get("priority"), map.get("backup"));
    if let (Some(priority), Some(backup)) = (&priority, &backup) {
        let (second, first) = if priority.at < backup.at { (backup, "priority") } else { (priority, "backup") };
        second.wrong(format!("cannot stand beside '{first}': backup: true is the same as priority: 1"));
    }
    let number = priority.and_then(|v| v.whole(0..=Backend::MAX_PRIORITY));
    number.or_else(|| backup?.boolean().map(u8::from)).unwrap_or_default()
}
