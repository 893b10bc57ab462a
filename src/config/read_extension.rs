//! Names that code is registered for, and the plain data written beside them.

use serde_json::{Number, Value as Json};

use super::node::{Kind, Node};
use super::reader::Value;
use super::text::quoted;
use super::{Extension, Options};

impl Options {
    /// Was nothing written, or an empty map?
    pub(super) fn is_empty(&self) -> bool {
        match &self.value {
            Json::Null => true,
            Json::Object(map) => map.is_empty(),
            _ => false,
        }
    }
}

impl Value<'_> {
    /// `NAME` or `{ NAME: options }`; `what` says what the name is of, for the message.
    pub(super) fn extension(&self, what: &str) -> Option<Extension> {
        if let Some(name) = self.scalar() {
            let named = self.named(name, &Node { at: self.at, kind: Kind::Null });
            // As if it had been written `NAME: {}`: what its owner says of it must name it.
            return named.map(|mut named| {
                named.options.key = format!("{}.{name}", self.key);
                named
            });
        }
        let form = format!("{what}, NAME or {{ NAME: options }}");
        match self.entries(&form)? {
            [entry] => self.child(entry).as_extension(&entry.key),
            entries => {
                self.wrong(format!("must be {form}, got a map of {} keys", entries.len()));
                None
            }
        }
    }

    /// This value as the options of the extension `name`.
    pub(super) fn as_extension(&self, name: &str) -> Option<Extension> {
        self.named(name, self.node)
    }

    fn named(&self, name: &str, options: &Node) -> Option<Extension> {
        if !is_name(name) {
            self.wrong(name_rule(name));
            return None;
        }
        let options = Options { value: json(options), at: self.at, key: self.key.clone() };
        Some(Extension { name: name.to_owned(), options })
    }
}

/// May a pool or an extension be called this? Names end up in metric labels, URLs and log fields.
pub(super) fn is_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    (1..=100).contains(&name.len()) && name.bytes().all(fits)
}

fn json(node: &Node) -> Json {
    match &node.kind {
        Kind::Null => Json::Null,
        Kind::Scalar { text, plain: true } => plain(text),
        Kind::Scalar { text, .. } => Json::String(text.clone()),
        Kind::List(nodes) => Json::Array(nodes.iter().map(json).collect()),
        Kind::Map(entries) => Json::Object(entries.iter().map(|e| (e.key.clone(), json(&e.value))).collect()),
    }
}

/// A plain scalar by YAML's core schema.
fn plain(text: &str) -> Json {
    let number = || -> Option<Number> {
        // `inf`, `nan` and `1_000` are words to us, as they are to YAML.
        if !text.ends_with(|c: char| c.is_ascii_digit() || c == '.') {
            return None;
        }
        let unsigned = text.parse::<u64>().ok().map(Number::from);
        let signed = || text.parse::<i64>().ok().map(Number::from);
        unsigned.or_else(signed).or_else(|| Number::from_f64(text.parse().ok()?))
    };
    match text {
        "true" | "True" | "TRUE" => Json::Bool(true),
        "false" | "False" | "FALSE" => Json::Bool(false),
        _ => number().map_or_else(|| Json::String(text.to_owned()), Json::Number),
    }
}

/// The hint for a name that is none, shared by pools and extensions.
pub(super) fn name_rule(name: &str) -> String {
    format!("must be named with 1 to 100 letters, digits, '_', '-' and '.', got {}", quoted(name))
}
