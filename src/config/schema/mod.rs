//! What may stand in the file, as JSON Schema: for editors, and for the tables of `docs/`, which are made of the same.
//!
//! The source is the YAML beside this file, read as the configuration itself is. It is JSON Schema in a shorter hand:
//!
//! - `type` may name a definition of any of these files, and a list of types means any of them;
//! - a map with `properties` allows no others;
//! - a word `on` or `off` is what YAML 1.1 reads as `true` or `false`, too;
//! - `x-registered` says which extensions have their names here;
//! - `x-type` and `x-default` are what the tables say in place of what stands there; `x-inline` leaves out a map's own row.
//!
//! Tests hold it to what the readers ask for, and to the defaults that they have.

mod expand;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value as Json, json};
#[cfg(test)]
pub(crate) use tables::renew_documents;

use super::node::Node;
use super::read_extension::json as json_of;
use super::yaml;

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// One file a line. Names are unique among all of them.
const FILES: &[&str] = &[
    include_str!("definitions.yaml"),
    include_str!("top.yaml"),
    include_str!("listener.yaml"),
    include_str!("pool.yaml"),
    include_str!("balance.yaml"),
    include_str!("health_check.yaml"),
    include_str!("route.yaml"),
];

/// An extension, as far as a schema is concerned.
pub(crate) struct Registered {
    /// `filter`, `balance`, `health_check` or `discovery`.
    pub(crate) kind: &'static str,
    /// Its name.
    pub(crate) name: String,
    /// What may stand beside the name, as JSON Schema, if that is known.
    pub(crate) options: Option<Json>,
}

/// The schema of a configuration that may name these extensions.
pub(crate) fn schema(registered: &[Registered]) -> Json {
    let mut definitions = Map::new();
    for (name, node) in FILES.iter().flat_map(|text| entries(text)) {
        definitions.insert(name, expand::expand(&json_of(&node), registered));
    }
    let mut take = |name: &str| definitions.remove(name).unwrap_or_default();
    let (mut top, mut pingora) = (take("top"), take("pingora"));
    if let (Some(keys), Some(more)) = (top["properties"].as_object_mut(), pingora["properties"].as_object_mut()) {
        keys.append(more);
    }
    top["$schema"] = json!(DIALECT);
    top["title"] = json!("Configuration of Evenkeel");
    top["$defs"] = Json::Object(definitions);
    top
}

/// The schema of an extension's options, written in our short hand.
pub(crate) fn options_schema(text: &str) -> Json {
    yaml::parse(text).0.map(|node| expand::expand(&json_of(&node), &[])).unwrap_or_default()
}

/// What a file of ours defines, in its order.
fn entries(text: &str) -> Vec<(String, Node)> {
    match yaml::parse(text).0.map(|top| top.kind) {
        Some(super::node::Kind::Map(entries)) => entries.into_iter().map(|entry| (entry.key, entry.value)).collect(),
        _ => Vec::new(),
    }
}
