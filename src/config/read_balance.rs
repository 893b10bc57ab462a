//! `balance`: one algorithm by its name, with the options that it knows.

use super::map::Map;
use super::node::Kind;
use super::reader::Value;
use super::text::{nearest, quoted, shown};
use super::{Balance, Choices, Decay, Hashing, KeySource, LeastTime, TableSize};

/// The algorithms that are built in.
pub(super) const BUILT_IN: [&str; 9] = [
    "round_robin",
    "random",
    "least_request",
    "p2c",
    "peak_ewma",
    "least_time",
    "consistent_hash",
    "maglev",
    "rendezvous",
];

/// What other balancers call an algorithm, and what to write here for it.
const ELSEWHERE: [(&str, &str); 13] = [
    ("least_conn", "least_request"),
    ("leastconn", "least_request"),
    ("least_connections", "least_request"),
    ("ip_hash", "{ consistent_hash: { key: client_ip } }"),
    ("source", "{ consistent_hash: { key: client_ip } }"),
    ("roundrobin", "round_robin"),
    ("rr", "round_robin"),
    ("ring_hash", "consistent_hash"),
    ("ketama", "consistent_hash"),
    ("hash", "consistent_hash"),
    ("ewma", "peak_ewma"),
    ("random_two", "p2c"),
    ("power_of_two_choices", "p2c"),
];

/// Read the value of `balance`.
pub(super) fn balance(value: &Value<'_>) -> Option<Balance> {
    let (name, options) = value.choice("an algorithm")?;
    match name {
        "round_robin" => bare(&options, name, Balance::RoundRobin),
        "random" => bare(&options, name, Balance::Random),
        "p2c" => bare(&options, name, Balance::P2c),
        "least_request" => with(&options, |map| Balance::LeastRequest(choices(map))),
        "peak_ewma" => with(&options, |map| Balance::PeakEwma(decay(map))),
        "least_time" => {
            with(&options, |map| Balance::LeastTime(LeastTime { choices: choices(map), decay: decay(map) }))
        }
        "consistent_hash" => with(&options, |map| Balance::ConsistentHash(hashing(map))),
        "maglev" => with(&options, |map| {
            Balance::Maglev(hashing(map), map.read("table_size", TableSize::default(), table_size))
        }),
        "rendezvous" => with(&options, |map| Balance::Rendezvous(hashing(map))),
        // Any other name may be registered by code, unless it is this near.
        _ => match meant(name) {
            Some(known) => {
                let place = if value.scalar().is_some() { value } else { &options };
                place.wrong(format!("unknown algorithm {}, did you mean '{known}'?", quoted(name)));
                None
            }
            None => options.as_extension(name).map(Balance::Extension),
        },
    }
}

/// What to write in place of `name`, if it is a typo or what another balancer says.
fn meant(name: &str) -> Option<&'static str> {
    let plain = name.to_lowercase().replace('-', "_");
    let known = ELSEWHERE.iter().find(|(word, _)| *word == plain).map(|(_, ours)| *ours);
    known.or_else(|| nearest(name, BUILT_IN))
}

/// An algorithm without options.
fn bare(options: &Value<'_>, name: &str, algorithm: Balance) -> Option<Balance> {
    if !options.is_null() {
        options.map_or("{}, it has no options")?.done_with(&format!(": {name} has no options"));
    }
    Some(algorithm)
}

/// An algorithm with options, all of which may be left out.
fn with(options: &Value<'_>, read: impl FnOnce(&mut Map<'_>) -> Balance) -> Option<Balance> {
    let mut map = if options.is_null() { Map::new(options, &[]) } else { options.map()? };
    let algorithm = read(&mut map);
    map.done();
    Some(algorithm)
}

fn choices(map: &mut Map<'_>) -> Choices {
    map.read("choices", Choices::default(), |v| match v.scalar() {
        Some("all") => Some(Choices::All),
        _ => v.whole_or(2..=Choices::MAX_COMPARED, " (or write all)").map(Choices::Drawn),
    })
}

fn decay(map: &mut Map<'_>) -> Decay {
    map.read("decay", Decay::default(), |v| v.duration().map(Decay))
}

fn hashing(map: &mut Map<'_>) -> Hashing {
    let key = map.read("key", Hashing::default().key, sources);
    let bounded_load = map.get("bounded_load").filter(|v| !v.is_off()).and_then(|v| v.percent(101..=1000));
    Hashing { key, bounded_load }
}

/// One source, or a list of them.
pub(super) fn sources(value: &Value<'_>) -> Option<Vec<KeySource>> {
    if !matches!(value.node.kind, Kind::List(_)) {
        return Some(vec![source(value)?]);
    }
    let mut found = Vec::new();
    for item in value.list("sources")? {
        let Some(source) = source(&item) else { continue };
        if found.contains(&source) {
            item.wrong("is in this list already");
        }
        found.push(source);
    }
    Some(found)
}

fn source(value: &Value<'_>) -> Option<KeySource> {
    let entries = match &value.node.kind {
        Kind::Scalar { text, .. } if text == "client_ip" => return Some(KeySource::ClientIp),
        Kind::Scalar { text, .. } if text == "path" => return Some(KeySource::Path),
        Kind::Map(entries) if !entries.is_empty() => entries,
        _ => {
            // Not by `must_be`, which takes every `key` for a secret.
            let forms = "client_ip, path, { header: NAME }, { cookie: NAME } or { query: NAME }";
            value.wrong(format!("must be {forms}, got {}", shown(value.node)));
            return None;
        }
    };
    let mut map = Map::new(value, entries);
    let named = (map.get("header"), map.get("cookie"), map.get("query"));
    map.done();
    match named {
        (Some(header), None, None) => {
            header.token("the name of a header").map(|name| KeySource::Header(name.to_ascii_lowercase()))
        }
        (None, Some(cookie), None) => {
            cookie.token("the name of a cookie").map(|name| KeySource::Cookie(name.to_owned()))
        }
        (None, None, Some(query)) => query.parameter().map(|name| KeySource::Query(name.to_owned())),
        (None, None, None) => None,
        _ => {
            value.wrong("is several sources in one; write a list of them, the first that a request has counts");
            None
        }
    }
}

fn table_size(value: &Value<'_>) -> Option<TableSize> {
    let size = value.whole(3..=TableSize::MAX)?;
    // The largest that is allowed is a prime: there always is a next one.
    let prime = (size..=TableSize::MAX).find(|n| is_prime(*n))?;
    if prime != size {
        value.wrong(format!("must be a prime number, got {size} (the next one is {prime})"));
        return None;
    }
    Some(TableSize(size))
}

fn is_prime(n: u32) -> bool {
    (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}
