//! What is done with the requests of a route: `pool`, `split`, `redirect`, `respond`; and beside the first two `rewrite` and
//! `mirror`.

use super::map::Map;
use super::node::Kind;
use super::read_balance::sources;
use super::read_match::path;
use super::read_pool::NamedPool;
use super::reader::Value;
use super::text::{nearest, quoted};
use super::{Action, Mirror, NewPath, PathMatch, Percent, Respond, Rewrite, RouteRedirect, Share, Split, address};

/// The one action of a route. `matched` is what its match says of the path.
pub(super) fn action(map: &mut Map<'_>, pools: &[NamedPool], matched: Option<&PathMatch>) -> Option<Action> {
    let given = [
        ("pool", map.get("pool")),
        ("split", map.get("split")),
        ("redirect", map.get("redirect")),
        ("respond", map.get("respond")),
    ];
    let mut given = given.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let Some((name, value)) = given.next() else {
        map.wrong("needs 'pool', 'split', 'redirect' or 'respond'");
        return None;
    };
    if let Some((_, other)) = given.next() {
        other.wrong(format!("cannot stand beside '{name}': a route does one or the other"));
        return None;
    }
    match name {
        "pool" => pool_index(&value, pools).map(Action::Pool),
        "split" => split(&value, pools).map(Action::Split),
        "redirect" => redirect(&value, matched).map(Action::Redirect),
        _ => respond(&value).map(Action::Respond),
    }
}

fn pool_index(value: &Value<'_>, pools: &[NamedPool]) -> Option<usize> {
    let name = value.text("the name of a pool")?;
    let index = pools.iter().position(|(pool, _)| pool == name);
    if index.is_none() && !pools.is_empty() {
        let names: Vec<&str> = pools.iter().map(|(pool, _)| pool.as_str()).collect();
        let hint = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean {}?", quoted(near)),
            None => format!("there {}", existing(&names)),
        };
        value.wrong(format!("unknown pool {}, {hint}", quoted(name)));
    }
    index
}

/// `is just 'web'`, `are 'web', 'api'`, and no more of them than a line takes.
fn existing(names: &[&str]) -> String {
    const MOST: usize = 10;
    let mut listed = names.iter().take(MOST).map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    if names.len() > MOST {
        listed.push_str(&format!(" and {} more", names.len() - MOST));
    }
    match names.len() {
        1 => format!("is just {listed}"),
        _ => format!("are {listed}"),
    }
}

/// A list of pools with their weights, or a map with what decides beside it.
fn split(value: &Value<'_>, pools: &[NamedPool]) -> Option<Split> {
    if matches!(value.node.kind, Kind::List(_)) {
        return Some(Split { by: Vec::new(), shares: shares(value, pools)? });
    }
    let form = "a list of pools, [{ pool: NAME, weight: 1 }], or { by: …, pools: […] }";
    let mut map = value.map_or(form)?;
    let by = map.read("by", Vec::new(), sources);
    let shares = map.need("pools", "pools: [{ pool: web, weight: 1 }]").and_then(|v| shares(&v, pools));
    map.done();
    Some(Split { by, shares: shares? })
}

fn shares(value: &Value<'_>, pools: &[NamedPool]) -> Option<Vec<Share>> {
    let mut found: Vec<Share> = Vec::new();
    for item in value.list("pools")? {
        let Some(mut map) = item.map_or("a map, { pool: NAME, weight: 1 }") else { continue };
        let pool = map.need("pool", "pool: web");
        let weight = map.read("weight", 1, |v| v.whole(0..=Share::MAX_WEIGHT));
        map.done();
        let Some(pool) = pool.and_then(|v| pool_index(&v, pools)) else { continue };
        if found.iter().any(|share| share.pool == pool) {
            item.wrong("is a pool that is in this list already");
        }
        found.push(Share { pool, weight });
    }
    if !found.is_empty() && found.iter().all(|share| share.weight == 0) {
        value.wrong("must have a weight above 0, or no request could go anywhere");
    }
    Some(found)
}

fn redirect(value: &Value<'_>, matched: Option<&PathMatch>) -> Option<RouteRedirect> {
    let mut map = value.map()?;
    let scheme = map.get("scheme");
    let host = map.get("host");
    let port = map.get("port");
    let (new, path) = new_path(&mut map, matched);
    let status = map.read("status", 302, |v| {
        let status = v.whole(100..=599_u16)?;
        if !RouteRedirect::STATUSES.contains(&status) {
            v.must_be("301, 302, 303, 307 or 308");
        }
        Some(status)
    });
    if !new && scheme.is_none() && host.is_none() && port.is_none() {
        map.wrong("needs 'scheme', 'host', 'port', 'path' or 'prefix': it would lead to where it comes from");
    }
    map.done();
    Some(RouteRedirect {
        scheme: scheme.and_then(|v| v.word(&[("http", "http"), ("https", "https")])),
        host: host.and_then(|v| bare_host(&v)),
        port: port.and_then(|v| v.whole(1..=u16::MAX)),
        path,
        status,
    })
}

/// `path` or `prefix`: whether there is one, and which.
fn new_path(map: &mut Map<'_>, matched: Option<&PathMatch>) -> (bool, Option<NewPath>) {
    let path = match (map.get("path"), map.get("prefix")) {
        (None, None) => return (false, None),
        (Some(full), None) => target(&full).map(|path| NewPath::Full(path.to_owned())),
        (None, Some(prefix)) => new_prefix(&prefix, matched),
        (Some(_), Some(prefix)) => {
            prefix.wrong("cannot stand beside 'path': it is one or the other");
            None
        }
    };
    (true, path)
}

fn new_prefix(value: &Value<'_>, matched: Option<&PathMatch>) -> Option<NewPath> {
    let with = target(value)?.trim_end_matches('/').to_owned();
    match matched {
        None => Some(NewPath::Prefix { with, matched: String::new() }),
        Some(PathMatch::Prefix(matched)) => Some(NewPath::Prefix { with, matched: matched.clone() }),
        Some(PathMatch::Exact(_) | PathMatch::Regex(_)) => {
            value.wrong("needs a match by 'path_prefix', whose place it takes");
            None
        }
    }
}

/// A path that can stand in a request and in a `Location`.
fn target<'a>(value: &Value<'a>) -> Option<&'a str> {
    let text = path(value)?;
    // `//` would begin a host, where a `Location` has none.
    let strange = |b: u8| !b.is_ascii_graphic() || b"\"<>\\^`{|}".contains(&b);
    if text.starts_with("//") || text.bytes().any(strange) {
        value.must_be("a path as a request has it, with one slash at its beginning and other characters as %XX");
        return None;
    }
    Some(text)
}

/// A host without a port, in lower case.
fn bare_host(value: &Value<'_>) -> Option<String> {
    let text = value.text("a host name")?;
    if address::literal(text).is_some() {
        return Some(text.to_owned());
    }
    match address::name(text) {
        Ok(name) => Some(name),
        Err(hint) => {
            let hint = if text.contains(':') { "without a port" } else { hint };
            value.wrong(format!("must be a host name, got {} ({hint})", value.shown()));
            None
        }
    }
}

/// Read `rewrite`.
pub(super) fn rewrite(value: &Value<'_>, matched: Option<&PathMatch>) -> Option<Rewrite> {
    let mut map = value.map()?;
    let host = map.get("host");
    let (new, path) = new_path(&mut map, matched);
    if !new && host.is_none() {
        map.wrong("needs 'host', 'path' or 'prefix'");
    }
    map.done();
    Some(Rewrite { host: host.and_then(|v| v.host()), path })
}

/// Read `mirror`.
pub(super) fn mirror(value: &Value<'_>, pools: &[NamedPool]) -> Option<Mirror> {
    let mut map = value.map()?;
    let pool = map.need("pool", "pool: web").and_then(|v| pool_index(&v, pools));
    let percent = map.read("percent", Percent(100), |v| v.percent(1..=100));
    let max_in_flight = map.read("max_in_flight", Mirror::MAX_IN_FLIGHT, |v| v.whole(1..=Mirror::LIMITS.0));
    let max_body_size = map.read("max_body_size", Mirror::MAX_BODY_SIZE, |v| {
        let size = v.size()?;
        if size > Mirror::LIMITS.1 {
            v.must_be("16MiB at most: it is kept in memory");
        }
        Some(size)
    });
    map.done();
    Some(Mirror { pool: pool?, percent, max_in_flight, max_body_size })
}

fn respond(value: &Value<'_>) -> Option<Respond> {
    let mut map = value.map()?;
    let status = map.read("status", 200, |v| v.whole(200..=599_u16));
    let body = map.read("body", "", |v| {
        let text = v.scalar();
        if text.is_none() {
            v.must_be("a text");
        }
        text
    });
    map.done();
    Some(Respond { status, body: body.to_owned() })
}
