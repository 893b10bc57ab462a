//! Types for the options of extensions, which read what they hold in the form of all other keys.

use std::net::IpAddr;
use std::ops::Deref;
use std::time::Duration;

use bytesize::ByteSize;
use ipnet::IpNet;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::units;

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
        let network = |text: String| text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let networks: Result<_, _> = texts.into_iter().map(network).collect();
        let wrong = |_| D::Error::custom("must be IP addresses and ranges of them, like [10.0.0.0/8]");
        networks.map(Networks).map_err(wrong)
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
