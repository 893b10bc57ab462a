//! Names that code is registered for, and the plain data written beside them.

use std::sync::Arc;

use serde_json::{Number, Value as Json};

use super::name::{is_name, name_rule};
use super::node::{Kind, Node, join};
use super::reader::Value;
use super::{Extension, Options, Position};

/// In one list. Those of the whole, of a listener and of a route are numbered by the bits of 64 in all.
const MAX_FILTERS: usize = 20;

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

/// What stands beside a name that stands alone.
static NOTHING: Node = Node { at: Position { line: 0, column: 0 }, kind: Kind::Null };

impl<'a> Value<'a> {
    /// `NAME` or `{ NAME: options }`; `what` says what the name is of, for the message.
    pub(super) fn extension(&self, what: &str) -> Option<Extension> {
        let (name, options) = self.choice(what)?;
        options.as_extension(name)
    }

    /// `filters`: a list of them.
    pub(super) fn filters(&self) -> Vec<Extension> {
        let items = self.list_or_empty("filters").unwrap_or_default();
        if items.len() > MAX_FILTERS {
            self.wrong(format!("must be {MAX_FILTERS} filters at most, got {}", items.len()));
        }
        items.iter().filter_map(|item| item.extension("a filter")).collect()
    }

    /// The name and the options of `NAME` or `{ NAME: options }`; `what` says what the name is of, for the message.
    pub(super) fn choice(&self, what: &str) -> Option<(&'a str, Value<'a>)> {
        if let Some(name) = self.scalar() {
            if !is_name(name) {
                self.wrong(name_rule(name));
                return None;
            }
            // As if it had been written `NAME: {}`: what its owner says of it must name it.
            let key = join(&self.key, name);
            return Some((name, Value { node: &NOTHING, at: self.at, key, sink: self.sink }));
        }
        let form = format!("{what}, NAME or {{ NAME: options }}");
        match self.entries(&form)? {
            [entry] => Some((&entry.key, self.child(entry))),
            entries => {
                self.wrong(format!("must be {form}, got a map of {} keys", entries.len()));
                None
            }
        }
    }

    /// This value as the options of the extension `name`.
    pub(super) fn as_extension(&self, name: &str) -> Option<Extension> {
        if !is_name(name) {
            self.wrong(name_rule(name));
            return None;
        }
        let options = Options {
            value: json(self.node),
            at: self.at.into(),
            key: self.key.clone(),
            node: Some(Arc::new(self.node.clone())),
            folder: self.sink.folder().to_path_buf(),
        };
        Some(Extension { name: name.to_owned(), options })
    }
}

pub(super) fn json(node: &Node) -> Json {
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
