//! Which origins a page may come from that reads our answers.

use http::HeaderValue;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// Origins as they stand in the options.
#[derive(Debug, Default)]
pub(super) struct Origins {
    /// `*`, any of them.
    pub(super) any: bool,
    listed: Vec<Pattern>,
}

#[derive(Debug, PartialEq, Eq)]
enum Pattern {
    Exactly(String),
    /// `https://*.example.com:8443`, in two: what a name begins with and what it ends with.
    Below {
        scheme: String,
        suffix: String,
    },
}

impl Origins {
    /// Whether it is one of them. Browsers write an origin in one way only, so that nothing needs to be taken apart.
    pub(super) fn allow(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        self.listed.iter().any(|pattern| pattern.matches(origin))
    }

    /// Whether `null` is listed, which any page in a sandbox says it is.
    pub(super) fn has_null(&self) -> bool {
        self.listed.contains(&Pattern::Exactly("null".to_owned()))
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.any && self.listed.is_empty()
    }
}

impl Pattern {
    fn matches(&self, origin: &str) -> bool {
        match self {
            Pattern::Exactly(ours) => ours == origin,
            Pattern::Below { scheme, suffix } => {
                let below = origin.strip_prefix(&**scheme).and_then(|rest| rest.strip_suffix(&**suffix));
                below.is_some_and(|below| !below.is_empty() && below.bytes().all(is_of_a_name))
            }
        }
    }
}

fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

impl<'de> Deserialize<'de> for Origins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut origins = Origins::default();
        for text in Vec::<String>::deserialize(deserializer)? {
            match text.as_str() {
                "*" => origins.any = true,
                text => origins.listed.push(pattern(text).map_err(D::Error::custom)?),
            }
        }
        if origins.any && !origins.listed.is_empty() {
            return Err(D::Error::custom("has '*' and others beside it, which say nothing more"));
        }
        Ok(origins)
    }
}

fn pattern(text: &str) -> Result<Pattern, String> {
    if text == "null" {
        return Ok(Pattern::Exactly(text.to_owned()));
    }
    let form = "must be origins, like https://app.example.com, https://*.example.com or '*'";
    let text = text.to_ascii_lowercase();
    let (scheme, authority) = text.split_once("://").ok_or(form)?;
    if authority.contains(['/', '?', '#', '@']) || scheme.is_empty() || authority.is_empty() {
        return Err(format!("{form}, without a path"));
    }
    if matches!((scheme, authority.rsplit_once(':')), ("https", Some((_, "443"))) | ("http", Some((_, "80")))) {
        return Err("must not name the port that a scheme has anyway: browsers leave it out".to_owned());
    }
    match authority.strip_prefix('*') {
        Some(suffix) if suffix.starts_with('.') && suffix.len() > 1 && !suffix.contains('*') => {
            Ok(Pattern::Below { scheme: format!("{scheme}://"), suffix: suffix.to_owned() })
        }
        None if !authority.contains('*') => Ok(Pattern::Exactly(text)),
        _ => {
            Err("must have its wildcard in place of the first labels of a host, like https://*.example.com".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(yaml: serde_json::Value) -> Origins {
        serde_json::from_value(yaml).unwrap()
    }

    #[test]
    fn who_is_one_of_them() {
        let origins =
            origins(serde_json::json!(["https://app.example.com", "https://*.Example.org", "http://*.test:8080"]));
        for (origin, is) in [
            ("https://app.example.com", true),
            ("https://app.example.com:8443", false),
            ("http://app.example.com", false),
            ("https://app.example.com.evil.test", false),
            ("https://a.example.org", true),
            ("https://a.b.example.org", true),
            ("https://example.org", false),
            ("https://.example.org", false),
            ("https://evilexample.org", false),
            ("https://evil.test/.example.org", false),
            ("https://evil.test#.example.org", false),
            ("https://evil.test:80@.example.org", false),
            ("http://a.test:8080", true),
            ("http://a.test", false),
            ("null", false),
        ] {
            assert_eq!(origins.allow(&HeaderValue::from_static(origin)), is, "{origin}");
        }
        assert!(!origins.allow(&HeaderValue::from_bytes(b"https://\xff.example.org").unwrap()));
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "app.example.com",
            "https://app.example.com/",
            "https://app.example.com/path",
            "https://user@app.example.com",
            "https://app.example.com:443",
            "http://app.example.com:80",
            "https://*",
            "https://*example.com",
            "https://a.*.example.com",
            "https://*.*.example.com",
            "https://*.",
            "://a",
        ] {
            assert!(pattern(text).is_err(), "{text}");
        }
    }
}
