//! Names of headers in options, and a text in a header.

use http::HeaderName;
use http::header::HOST;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// The name of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(pub(super) HeaderName);

/// Those by which a message is taken apart, or which are for one connection alone: to change one is to make it another message.
pub(super) const FRAMING: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let name = HeaderName::from_bytes(text.as_bytes());
        name.map(Name).map_err(|_| D::Error::custom("must be the name of a header, like X-User"))
    }
}

/// The name of a header that a filter may set towards the backend.
#[derive(Clone, Debug)]
pub(super) struct Settable(pub(super) HeaderName);

impl<'de> Deserialize<'de> for Settable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Name(name) = Name::deserialize(deserializer)?;
        if name == HOST || FRAMING.contains(&name.as_str()) {
            return Err(D::Error::custom(format!("may not be {name}, which frames the request or says where it goes")));
        }
        Ok(Settable(name))
    }
}

/// A name as whatever makes variables of names, as CGI does, tells it from others: some take `X_User` for `X-User`, and some
/// `X.User`, too.
pub(super) fn folded(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

/// Whether [`folded`] makes the same of both.
pub(super) fn folds_alike(one: &str, other: &str) -> bool {
    let alike = |(a, b): (u8, u8)| match (a.is_ascii_alphanumeric(), b.is_ascii_alphanumeric()) {
        (true, true) => a.eq_ignore_ascii_case(&b),
        (a, b) => a == b,
    };
    one.len() == other.len() && one.bytes().zip(other.bytes()).all(alike)
}

/// A text as a quoted string of HTTP; `None` if it cannot be one.
pub(super) fn quoted(text: &str) -> Option<String> {
    let fits = text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    fits.then(|| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fold_alike_if_they_fold_to_the_same() {
        let names = ["x-user", "X_User", "x.user", "x-users", "xauser", "x-use1", ""];
        for one in names {
            for other in names {
                assert_eq!(folds_alike(one, other), folded(one) == folded(other), "{one} {other}");
            }
        }
    }

    #[test]
    fn a_realm_is_quoted() {
        assert_eq!(quoted("the \"inner\" c:\\").as_deref(), Some("\"the \\\"inner\\\" c:\\\\\""));
        assert_eq!(quoted("a\r\nb"), None);
        assert_eq!(quoted("ä"), None);
    }
}
