//! Names of headers in options, and a text in a header.

use http::HeaderName;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// The name of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(pub(super) HeaderName);

/// Names that are not for filters to give away: they frame a message, or say where it goes.
const FRAMING: [&str; 8] =
    ["host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade", "keep-alive"];

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
        if FRAMING.contains(&name.as_str()) {
            return Err(D::Error::custom(format!("may not be {name}, which frames the request or says where it goes")));
        }
        Ok(Settable(name))
    }
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
    fn a_realm_is_quoted() {
        assert_eq!(quoted("the \"inner\" c:\\").as_deref(), Some("\"the \\\"inner\\\" c:\\\\\""));
        assert_eq!(quoted("a\r\nb"), None);
        assert_eq!(quoted("ä"), None);
    }
}
