//! What stands beside the name of an extension: plain data that its author reads as a type of their own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use super::node::{Kind, Node, join};
use super::text::{any_of, nearest};
use super::{Mistake, Place, Position};

/// The value written beside an extension's name, with its place in the file.
///
/// Two are the same that say the same, wherever they stand.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(super) value: serde_json::Value,
    pub(super) at: Place,
    pub(super) key: String,
    /// The same as `value`, with the place of everything in it.
    pub(super) node: Option<Arc<Node>>,
    /// The folder that relative paths start from.
    pub(super) folder: PathBuf,
}

impl PartialEq for Options {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value && self.folder == other.folder
    }
}

impl Options {
    /// Read the options as a type of yours; write `#[serde(deny_unknown_fields)]` on it, so that a typo is not silent.
    /// Nothing written (`my_filter` or `my_filter: {}`) reads as an empty map. [`Period`](super::Period) and
    /// [`Size`](super::Size) read durations and sizes in the form of all others.
    ///
    /// # Errors
    /// What serde says, in the words of all other mistakes, at the place of what is wrong; without texts of the file, any of
    /// which may be a secret.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Mistake> {
        let value = match &self.value {
            serde_json::Value::Null => serde_json::Value::Object(serde_json::Map::new()),
            other => other.clone(),
        };
        serde_path_to_error::deserialize(value).map_err(|e| self.explained(e.path(), &e.inner().to_string()))
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

    /// The same at one of their keys, or where it is missing at the whole.
    pub fn mistake_at(&self, key: &str, message: impl Into<String>) -> Mistake {
        let mut place = self.place();
        place.enter(key);
        Mistake::new(place.at, join(&self.key, key), message)
    }

    /// The path of a file that the options name: one that is relative starts from the folder of the configuration.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.folder.join(path)
    }

    fn place(&self) -> Found<'_> {
        Found { node: self.node.as_deref(), at: self.at.into(), key: self.key.clone() }
    }

    /// What serde says of what is at this path, in our words.
    fn explained(&self, path: &serde_path_to_error::Path, message: &str) -> Mistake {
        let mut place = self.place();
        let unknown = quoted(message, "unknown field ").into_iter().next();
        for segment in path {
            match segment {
                Segment::Map { key } if Some(key.as_str()) != unknown => place.enter(key),
                Segment::Seq { index } => place.enter_item(*index),
                Segment::Map { .. } | Segment::Enum { .. } | Segment::Unknown => {}
            }
        }
        if let Some(key) = unknown {
            place.enter_key(key);
        }
        Mistake::new(place.at, place.key, in_our_words(message))
    }
}

/// A place in the options.
struct Found<'a> {
    node: Option<&'a Node>,
    at: Position,
    key: String,
}

impl Found<'_> {
    /// Go to the value of a key: a scalar has a place of its own, and whatever else that of its key.
    fn enter(&mut self, key: &str) {
        self.enter_key(key);
        if let Some(Node { at, kind: Kind::Scalar { .. } }) = self.node {
            self.at = *at;
        }
    }

    fn enter_key(&mut self, key: &str) {
        self.key = join(&self.key, key);
        let Some(Node { kind: Kind::Map(entries), .. }) = self.node else { return };
        if let Some(entry) = entries.iter().find(|entry| entry.key == key) {
            (self.node, self.at) = (Some(&entry.value), entry.at);
        }
    }

    fn enter_item(&mut self, index: usize) {
        self.key = format!("{}[{index}]", self.key);
        let Some(Node { kind: Kind::List(items), .. }) = self.node else { return };
        if let Some(item) = items.get(index) {
            (self.node, self.at) = (Some(item), item.at);
        }
    }
}

/// A message of serde's as one of ours.
fn in_our_words(message: &str) -> String {
    if let [_, allowed @ ..] = &quoted(message, "unknown field ")[..] {
        let typo = quoted(message, "unknown field ").first().copied().unwrap_or_default();
        return match nearest(typo, allowed.iter().copied()) {
            Some(near) => format!("unknown key, did you mean '{near}'?"),
            None if allowed.is_empty() => "unknown key; there are none here".to_owned(),
            None => format!("unknown key; allowed here: {}", any_of(allowed)),
        };
    }
    if let [missing, ..] = quoted(message, "missing field ")[..] {
        return format!("needs '{missing}'");
    }
    if let [_, allowed @ ..] = &quoted(message, "unknown variant ")[..] {
        return format!("must be {}", any_of(allowed));
    }
    let message = without_values(message).replace("a sequence", "a list").replace("sequence", "list");
    let message = with_ranges(&message);
    let parts = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    match parts.and_then(|parts| parts.rsplit_once(", expected ")) {
        // Of a type's name nobody knows anything who has not written it.
        Some((got, expected)) if expected.starts_with("struct ") => format!("must be a map of options, got {got}"),
        Some((got, expected)) => format!("must be {expected}, got {got}"),
        None => message,
    }
}

/// A message of serde's that says what a number must be, and not of which type of Rust's.
fn with_ranges(message: &str) -> String {
    const TYPES: [(&str, &str); 10] = [
        ("u8", "a whole number, 0 to 255"),
        ("u16", "a whole number, 0 to 65535"),
        ("u32", "a whole number, 0 to 4294967295"),
        ("u64", "a whole number, 0 or more"),
        ("usize", "a whole number, 0 or more"),
        ("i8", "a whole number, -128 to 127"),
        ("i16", "a whole number, -32768 to 32767"),
        ("i32", "a whole number, -2147483648 to 2147483647"),
        ("i64", "a whole number"),
        ("isize", "a whole number"),
    ];
    let Some((said, expected)) = message.rsplit_once(", expected ") else { return message.to_owned() };
    let (plain, but) = expected.strip_prefix("a nonzero ").map_or((expected, ""), |plain| (plain, ", but not 0"));
    match TYPES.iter().find(|(name, _)| *name == plain) {
        Some((_, range)) => format!("{said}, expected {range}{but}"),
        None => message.to_owned(),
    }
}

/// The words in backticks of a message that begins like this; none of any other.
fn quoted<'a>(message: &'a str, begins: &str) -> Vec<&'a str> {
    match message.strip_prefix(begins) {
        Some(rest) => rest.split('`').skip(1).step_by(2).collect(),
        None => Vec::new(),
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
        assert_eq!(mistake.message, "must be a map, got string \"…\"");
        let options = Options { value: serde_json::json!("sesame"), ..Options::default() };
        let mistake = options.parse::<Keys>().unwrap_err();
        assert_eq!(mistake.message, "must be a map of options, got string \"…\"");
    }

    #[test]
    fn a_number_must_be_in_a_range_and_not_of_a_type() {
        #[derive(Debug, serde::Deserialize)]
        struct Port {
            #[allow(dead_code)]
            port: u16,
        }
        let of = |value: serde_json::Value| {
            let value = serde_json::json!({ "port": value });
            Options { value, ..Options::default() }.parse::<Port>().unwrap_err().message
        };
        let range = "must be a whole number, 0 to 65535, got";
        assert_eq!(of(99_999.into()), format!("{range} integer `99999`"));
        assert_eq!(of((-1).into()), format!("{range} integer `-1`"));
        assert_eq!(of(true.into()), format!("{range} boolean `true`"));
        let options = Options { value: 0.into(), ..Options::default() };
        let mistake = options.parse::<std::num::NonZeroU8>().unwrap_err();
        assert_eq!(mistake.message, "must be a whole number, 0 to 255, but not 0, got integer `0`");
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
