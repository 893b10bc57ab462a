//! What stands beside the name of an extension: plain data that its author reads as a type of their own.

use serde::de::DeserializeOwned;

use super::{Mistake, Place};

/// The value written beside an extension's name, with its place in the file.
///
/// Two are the same that say the same, wherever they stand.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(super) value: serde_json::Value,
    pub(super) at: Place,
    pub(super) key: String,
}

impl PartialEq for Options {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Options {
    /// Read the options as a type of yours; write `#[serde(deny_unknown_fields)]` on it, so that a typo is not silent.
    /// Nothing written (`my_filter` or `my_filter: {}`) reads as an empty map.
    ///
    /// # Errors
    /// What serde says, without the strings that it quotes, at the place of these options in the file.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Mistake> {
        let value = match &self.value {
            serde_json::Value::Null => serde_json::Value::Object(serde_json::Map::new()),
            other => other.clone(),
        };
        serde_json::from_value(value).map_err(|e| self.mistake(without_values(&e.to_string())))
    }

    /// Nothing, for an extension that takes no options.
    ///
    /// # Errors
    /// That there are some.
    pub fn none(&self) -> Result<(), Mistake> {
        if self.is_empty() {
            return Ok(());
        }
        Err(self.mistake("takes no options"))
    }

    /// A mistake in these options, for what a type cannot express.
    pub fn mistake(&self, message: impl Into<String>) -> Mistake {
        Mistake::new(self.at, self.key.clone(), message)
    }
}

/// A message of serde's without what it quotes of the file: any of it may be a secret.
fn without_values(message: &str) -> String {
    match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if first < last => format!("{}…{}", &message[..=first], &message[last..]),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_does_not_quote_the_file() {
        let options = Options { value: serde_json::json!({ "keys": "open \"sesame" }), ..Options::default() };
        #[derive(Debug, serde::Deserialize)]
        struct Keys {
            #[allow(dead_code)]
            keys: std::collections::BTreeMap<String, String>,
        }
        let mistake = options.parse::<Keys>().unwrap_err();
        assert_eq!(mistake.message, "invalid type: string \"…\", expected a map");
    }

    #[test]
    fn none_takes_nothing_and_an_empty_map_and_no_more() {
        let options = |value| Options { value, ..Options::default() };
        assert_eq!(options(serde_json::Value::Null).none(), Ok(()));
        assert_eq!(options(serde_json::json!({})).none(), Ok(()));
        assert!(options(serde_json::json!({ "a": 1 })).none().is_err());
        assert!(options(serde_json::json!(false)).none().is_err());
    }
}
