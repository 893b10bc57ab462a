//! What is wanted of what a token says, and what of it the backend is told.

use std::collections::BTreeMap;

use http::HeaderValue;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::token::Claims;

/// For each claim the values of which it must have one.
#[derive(Default)]
pub(super) struct Wanted(BTreeMap<String, Vec<Value>>);

impl<'de> Deserialize<'de> for Wanted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut wanted = BTreeMap::new();
        for (name, value) in BTreeMap::<String, Value>::deserialize(deserializer)? {
            let values = match value {
                Value::Array(list) => list,
                one => vec![one],
            };
            let plain = |value: &Value| matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_));
            if values.is_empty() || !values.iter().all(plain) {
                return Err(D::Error::custom("must be values, like admin, or lists of those of which one is enough"));
            }
            wanted.insert(name, values);
        }
        Ok(Wanted(wanted))
    }
}

impl Wanted {
    /// Whether each of them has one of its values, or is a list with one of them.
    pub(super) fn are_met_by(&self, claims: &Claims) -> bool {
        self.0.iter().all(|(name, values)| {
            let Some(claim) = find(claims, name) else { return false };
            values.iter().any(|value| has(name, claim, value))
        })
    }
}

fn has(name: &str, claim: &Value, value: &Value) -> bool {
    match (claim, value) {
        (Value::Array(list), _) => list.contains(value),
        // RFC 8693, 4.2: words. Some providers have them by the shorter name.
        (Value::String(words), Value::String(word)) if name == "scope" || name == "scp" => {
            words.split(' ').any(|one| one == word)
        }
        _ => claim == value,
    }
}

/// A claim by its name, or by a path of names with dots between.
pub(super) fn find<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| {
        let (first, rest) = name.split_once('.')?;
        find(claims.get(first)?.as_object()?, rest)
    })
}

/// A claim in a header; a list has commas between. `None` for what cannot be told so, or could be taken for another.
pub(super) fn told(claim: &Value) -> Option<HeaderValue> {
    let text = match claim {
        Value::Array(list) => {
            let parts = list.iter().map(plain).collect::<Option<Vec<_>>>()?;
            if parts.iter().any(|part| part.contains(',')) {
                return None;
            }
            parts.join(",")
        }
        one => plain(one)?,
    };
    HeaderValue::from_bytes(text.as_bytes()).ok()
}

/// Blanks at its ends do not belong to a header's value.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| text.trim() == text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(bit) => Some(bit.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_is_wanted_is_there() {
        let claims = claims(json!({
            "role": "admin", "level": 7, "groups": ["a", "b"], "scope": "read write", "scp": "User.Read Mail.Read", "note": "read write",
            "realm": { "roles": ["x"] }, "https://a.test/r": ["y"], "empty": [], "none": null,
        }));
        for (wanted, met) in [
            (json!({}), true),
            (json!({ "role": "admin" }), true),
            (json!({ "role": ["user", "admin"] }), true),
            (json!({ "role": "adm" }), false),
            (json!({ "level": 7, "role": "admin" }), true),
            (json!({ "level": "7" }), false),
            (json!({ "groups": "b" }), true),
            (json!({ "groups": ["c", "a"] }), true),
            (json!({ "groups": "c" }), false),
            (json!({ "scope": "write" }), true),
            (json!({ "scope": "writ" }), false),
            (json!({ "scp": "Mail.Read" }), true),
            (json!({ "scp": "Mail" }), false),
            (json!({ "note": "write" }), false),
            (json!({ "realm.roles": "x" }), true),
            (json!({ "https://a.test/r": "y" }), true),
            (json!({ "empty": "a" }), false),
            (json!({ "none": "a" }), false),
            (json!({ "missing": "a", "role": "admin" }), false),
        ] {
            let demanded: Wanted = serde_json::from_value(wanted.clone()).unwrap();
            assert_eq!(demanded.are_met_by(&claims), met, "{wanted}");
        }
        for wrong in [json!({ "a": {} }), json!({ "a": [] }), json!({ "a": null }), json!({ "a": [["b"]] }), json!([])]
        {
            assert!(serde_json::from_value::<Wanted>(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_stand_in_a_header_is_not_told() {
        let text = |value: Value| told(&value).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        assert_eq!(text(json!("ä")).as_deref(), Some("ä"));
        assert_eq!(text(json!(["a", 1, true])).as_deref(), Some("a,1,true"));
        for value in [json!("a\r\nX-Admin: 1"), json!("a\0"), json!({}), json!([{}]), json!(null)]
            .into_iter()
            // To a backend that takes lists apart, "a,admin" in one is two, and to all " admin" is "admin".
            .chain([
                json!(["a,admin"]),
                json!(["b", "a, admin"]),
                json!(" admin"),
                json!("admin\t"),
                json!(["a", " b"]),
            ])
        {
            assert_eq!(text(value.clone()), None, "{value}");
        }
    }
}
