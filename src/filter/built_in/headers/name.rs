//! Which headers may be set and removed, as they are written.

use std::fmt;

use bytes::Bytes;
use http::HeaderName;
use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::super::names::FRAMING;
use super::template::Template;

/// A header and its value.
pub(super) struct Named {
    pub(super) name: HeaderName,
    /// In the letters in which it was written, and is sent over HTTP/1.
    pub(super) written: Bytes,
    pub(super) value: Template,
}

/// `{ NAME: value }`
#[derive(Default)]
pub(super) struct Values(pub(super) Vec<Named>);

/// `[NAME]`
#[derive(Default)]
pub(super) struct Names(pub(super) Vec<HeaderName>);

struct Name(HeaderName);

/// The name of a header that may be changed.
///
/// # Errors
/// Why it is none.
pub(in crate::filter::built_in) fn checked(name: &str) -> Result<HeaderName, String> {
    let wrong = |_| "is not the name of a header: letters, digits and -, like X-Frame-Options".to_owned();
    let name = HeaderName::try_from(name).map_err(wrong)?;
    if FRAMING.contains(&name.as_str()) {
        return Err(format!(
            "cannot be changed: {name} is about one connection or about where a message ends, and ours to say"
        ));
    }
    Ok(name)
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        checked(&name).map(Name).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<Name>::deserialize(deserializer)?;
        Ok(Names(names.into_iter().map(|Name(name)| name).collect()))
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Values;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("headers and their values, like { X-A: b }")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Values, A::Error> {
        let mut values: Vec<Named> = Vec::new();
        while let Some(written) = map.next_key::<String>()? {
            let named = map.next_value_seed(Entry(written))?;
            if values.iter().any(|other| other.name == named.name) {
                return Err(A::Error::custom(format!("has {} twice", named.name)));
            }
            values.push(named);
        }
        Ok(Values(values))
    }
}

/// The name of an entry: what is wrong with it is said at the place of the entry.
struct Entry(String);

impl<'de> DeserializeSeed<'de> for Entry {
    type Value = Named;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Named, D::Error> {
        let name = checked(&self.0).map_err(D::Error::custom)?;
        let value = String::deserialize(deserializer)?;
        let value = Template::parse(&value).map_err(D::Error::custom)?;
        Ok(Named { name, written: self.0.into(), value })
    }
}
