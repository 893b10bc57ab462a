//! Types for the options of extensions, which read what they hold in the form of all other keys.

use std::ops::Deref;
use std::time::Duration;

use bytesize::ByteSize;
use http::HeaderName;
use ipnet::IpNet;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::address::network;
use super::{KeySource, units};

/// A duration with its unit, like `250ms`, `2s` or `1m`; 1 ms to 365 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl Deref for Period {
    type Target = Duration;

    fn deref(&self) -> &Duration {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = "must be a duration with its unit, like 2s or 250ms";
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => units::duration(&text).map(Period).map_err(D::Error::custom),
            serde_json::Value::Number(n) => Err(D::Error::custom(format!("{form}, got {n} (write {n}s or {n}ms)"))),
            _ => Err(D::Error::custom(form)),
        }
    }
}

/// A list of addresses and ranges of them, like `[10.0.0.0/8, "2001:db8::1"]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(pub Vec<IpNet>);

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let networks: Option<_> = texts.iter().map(|text| network(text)).collect();
        let wrong = || D::Error::custom("must be IP addresses and ranges of them, like [10.0.0.0/8]");
        networks.map(Networks).ok_or_else(wrong)
    }
}

/// What of a request something goes by: one part, or a list of them of which the first counts that a request has. Written as the
/// `key` of `balance` is: `client_ip`, `path`, `{ header: NAME }`, `{ cookie: NAME }` or `{ query: NAME }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts(pub Vec<KeySource>);

impl<'de> Deserialize<'de> for Parts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let list = match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::Array(list) => list,
            one => vec![one],
        };
        let parts: Option<Vec<KeySource>> = list.iter().map(part).collect();
        let form = "must be client_ip, path, { header: NAME }, { cookie: NAME } or { query: NAME }, or a list of these";
        parts.filter(|parts| !parts.is_empty()).map(Parts).ok_or_else(|| D::Error::custom(form))
    }
}

fn part(value: &serde_json::Value) -> Option<KeySource> {
    if let Some(word) = value.as_str() {
        return match word {
            "client_ip" => Some(KeySource::ClientIp),
            "path" => Some(KeySource::Path),
            _ => None,
        };
    }
    let mut entries = value.as_object()?.iter();
    let (kind, name) = entries.next().filter(|_| entries.next().is_none())?;
    let name = name.as_str().filter(|name| !name.is_empty())?;
    match kind.as_str() {
        // What a header is called by, a cookie is, too: both are tokens.
        "header" => HeaderName::try_from(name).ok().map(|name| KeySource::Header(name.as_str().to_owned())),
        "cookie" => HeaderName::try_from(name).ok().map(|_| KeySource::Cookie(name.to_owned())),
        "query" => Some(KeySource::Query(name.to_owned())),
        _ => None,
    }
}

/// A size in bytes with its unit, like `64KiB`, or a plain number of bytes; more than none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let size = match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => text.parse::<ByteSize>().ok().map(|size| size.0),
            serde_json::Value::Number(n) => n.as_u64(),
            _ => None,
        };
        match size {
            Some(0) => Err(D::Error::custom("must be more than 0")),
            Some(size) => Ok(Size(size)),
            None => Err(D::Error::custom("must be a size with its unit, like 64KiB or 1GiB")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_are_written_as_keys_are() {
        let parts = |value| Parts::deserialize(value).map(|Parts(parts)| parts);
        assert_eq!(parts(json!("client_ip")).unwrap(), [KeySource::ClientIp]);
        assert_eq!(parts(json!({ "header": "X-User" })).unwrap(), [KeySource::Header("x-user".into())]);
        assert_eq!(
            parts(json!([{ "cookie": "Sid" }, { "query": "q" }, "path"])).unwrap(),
            [KeySource::Cookie("Sid".into()), KeySource::Query("q".into()), KeySource::Path]
        );
        for wrong in [
            json!([]),
            json!("client"),
            json!({}),
            json!({ "header": "a b" }),
            json!({ "header": "a", "cookie": "b" }),
            json!({ "headers": "a" }),
            json!({ "query": "" }),
            json!(1),
        ] {
            assert!(parts(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
