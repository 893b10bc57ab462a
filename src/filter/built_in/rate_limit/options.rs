//! What stands beside `rate_limit`.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::bucket::Quota;
use crate::config::{KeySource, Mistake, Options, Parts};

/// The most that any number may be; the bucket's arithmetic relies on it.
const MOST: u32 = 1_000_000;

/// As many as `limit_req_zone` of nginx holds in 6 MB.
const MAX_KEYS: u32 = 100_000;

/// The most: half a gigabyte.
const MOST_KEYS: u32 = 10_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    #[serde(default)]
    pub(super) key: By,
    rate: Rate,
    burst: Option<u32>,
    max_keys: Option<u32>,
    pub(super) headers: Option<bool>,
}

/// What requests are counted by.
#[derive(Debug, PartialEq)]
pub(super) enum By {
    /// All of them together.
    Route,
    /// The first of these that a request has.
    Parts(Vec<KeySource>),
}

impl Default for By {
    fn default() -> Self {
        By::Parts(vec![KeySource::ClientIp])
    }
}

/// A number of requests in a time.
#[derive(Debug, PartialEq)]
struct Rate {
    count: u32,
    per: Duration,
}

impl Settings {
    pub(super) fn quota(&self, options: &Options) -> Result<Quota, Mistake> {
        // What the rate allows in its own unit: whoever writes 1000/h means that a client may have them as it needs them.
        let burst = self.burst.unwrap_or(self.rate.count);
        if !(1..=MOST).contains(&burst) {
            return Err(options.mistake_at("burst", format!("must be 1 to {MOST}, got {burst}")));
        }
        Ok(Quota::new(self.rate.count, self.rate.per, burst))
    }

    pub(super) fn max_keys(&self, options: &Options) -> Result<usize, Mistake> {
        let keys = self.max_keys.unwrap_or(MAX_KEYS);
        if !(1..=MOST_KEYS).contains(&keys) {
            return Err(options.mistake_at("max_keys", format!("must be 1 to {MOST_KEYS}, got {keys}")));
        }
        Ok(if self.key == By::Route { 1 } else { keys as usize })
    }
}

impl<'de> Deserialize<'de> for By {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(word) if word == "route" => Ok(By::Route),
            other => match Parts::deserialize(other) {
                Ok(Parts(parts)) => Ok(By::Parts(parts)),
                Err(e) => Err(D::Error::custom(format!("{e} (or route, which counts all requests together)"))),
            },
        }
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong =
            || D::Error::custom(format!("must be a number of requests, 1 to {MOST}, in a time: 100/s, 100/m or 100/h"));
        let serde_json::Value::String(text) = serde_json::Value::deserialize(deserializer)? else {
            return Err(wrong());
        };
        let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
        let per = match unit.trim() {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return Err(wrong()),
        };
        match count.trim().parse() {
            Ok(count) if (1..=MOST).contains(&count) => Ok(Rate { count, per: Duration::from_secs(per) }),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rate_is_a_number_in_a_time() {
        for (text, count, per) in [("100/s", 100, 1), ("5 / m", 5, 60), ("1000000/h", 1_000_000, 3600)] {
            assert_eq!(Rate::deserialize(json!(text)).unwrap(), Rate { count, per: Duration::from_secs(per) });
        }
        for wrong in [json!("100"), json!("/s"), json!("0/s"), json!("-1/s"), json!("1/d"), json!("1.5/s"), json!(100)]
        {
            assert!(Rate::deserialize(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_is_a_part_or_several_or_the_route() {
        let by = |value| By::deserialize(value).unwrap();
        assert_eq!(by(json!("route")), By::Route);
        assert_eq!(by(json!("client_ip")), By::default());
        let parts = vec![KeySource::Header("x-user".into()), KeySource::ClientIp];
        assert_eq!(by(json!([{ "header": "X-User" }, "client_ip"])), By::Parts(parts));
        assert!(By::deserialize(json!(["route", "client_ip"])).is_err());
    }
}
