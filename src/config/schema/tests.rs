//! The schema says what the readers do: the same keys, the same defaults.

use std::collections::{BTreeMap, BTreeSet};

use super::super::node::{Entry, Kind, Node};
use super::super::reader::Sink;
use super::super::tests::full::everything;
use super::super::{Config, read, yaml};
use super::{FILES, Registered, entries, expand, schema};

/// The source of the schema, and the way through it.
struct Source(BTreeMap<String, Node>);

impl Source {
    fn new() -> Self {
        Source(FILES.iter().flat_map(|text| entries(text)).collect())
    }

    /// The top, with Pingora's keys.
    fn top(&self) -> Node {
        let (mut top, pingora) = (self.0["top"].clone(), &self.0["pingora"]);
        let more = entries_of(get(pingora, "properties").unwrap()).to_vec();
        let Kind::Map(keys) = &mut top.kind else { panic!() };
        let properties = keys.iter_mut().find(|entry| entry.key == "properties").unwrap();
        let Kind::Map(properties) = &mut properties.value.kind else { panic!() };
        properties.extend(more);
        top
    }

    /// Of the schemas that `schema` leads to, those that have this keyword.
    fn with<'a>(&'a self, schema: &'a Node, keyword: &str) -> Vec<&'a Node> {
        let names = match get(schema, "type").map(|node| &node.kind) {
            Some(Kind::List(nodes)) => nodes.iter().filter_map(text).collect(),
            Some(Kind::Scalar { text, .. }) => vec![text.as_str()],
            _ => Vec::new(),
        };
        let named = names.into_iter().filter_map(|name| self.0.get(name));
        let referred = get(schema, "$ref").and_then(text).and_then(|pointer| self.at(pointer));
        let mut found: Vec<_> = named.chain(referred).flat_map(|definition| self.with(definition, keyword)).collect();
        found.extend(get(schema, keyword).map(|_| schema));
        found
    }

    /// What `#/$defs/…` points at.
    fn at(&self, pointer: &str) -> Option<&Node> {
        let mut parts = pointer.strip_prefix("#/$defs/")?.split('/');
        let first = self.0.get(parts.next()?);
        parts.fold(first, |node, part| get(node?, part))
    }

    fn keys<'a>(&'a self, schema: &'a Node) -> Vec<&'a Entry> {
        self.with(schema, "properties").into_iter().flat_map(|s| entries_of(get(s, "properties").unwrap())).collect()
    }

    fn inner<'a>(&'a self, schema: &'a Node, keyword: &str) -> Option<&'a Node> {
        self.with(schema, keyword).first().and_then(|schema| get(schema, keyword))
    }

    /// Every path of keys, as `pools.*.retry.on`.
    fn paths(&self, schema: &Node, before: &str, found: &mut BTreeSet<String>) {
        for entry in self.keys(schema) {
            let path = format!("{before}{}", entry.key);
            self.paths(&entry.value, &format!("{path}."), found);
            found.insert(path);
        }
        if let Some(items) = self.inner(schema, "items") {
            self.paths(items, before, found);
        }
        if before == "pools." {
            self.paths(self.inner(schema, "additionalProperties").unwrap(), "pools.*.", found);
        }
    }
}

fn get<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    entries_of(node).iter().find(|entry| entry.key == key).map(|entry| &entry.value)
}

fn entries_of(node: &Node) -> &[Entry] {
    match &node.kind {
        Kind::Map(entries) => entries,
        _ => &[],
    }
}

fn text(node: &Node) -> Option<&str> {
    match &node.kind {
        Kind::Scalar { text, .. } => Some(text),
        _ => None,
    }
}

/// `pools.web.backends[1].weight` as `pools.*.backends.weight`.
fn shape(key: &str) -> String {
    let parts = key.split('.').enumerate().map(|(i, part)| match part.split('[').next() {
        _ if i == 1 && key.starts_with("pools.") => "*",
        part => part.unwrap(),
    });
    parts.collect::<Vec<_>>().join(".")
}

#[test]
fn the_schema_has_the_keys_that_are_read_and_no_others() {
    let (source, mut said) = (Source::new(), BTreeSet::new());
    source.paths(&source.top(), "", &mut said);
    let file = everything().replace("    discovery:", "    #");
    // What full.yaml has in another form.
    let forms = "listeners: [{ proxy_protocol: { from: [10.0.0.0/8] } }]\nroutes: [{ split: [{ pool: web }] }]";
    let mut read = BTreeSet::new();
    for text in [file.as_str(), forms] {
        let (top, sink) = (yaml::parse(text).0.unwrap(), Sink::new(None));
        read::config(&top, None, &sink);
        read.extend(sink.asked.borrow().iter().map(|key| shape(key)));
    }
    let missing: Vec<_> = read.difference(&said).collect();
    assert_eq!(missing, [""; 0], "are read and not in the schema");
    // What is chosen by its name is not asked for: algorithms, and of what a key is made.
    let chosen = |path: &str| path.contains(".balance.") || path.ends_with(".header") || path.contains(".by.");
    let unknown: Vec<_> = said.difference(&read).filter(|path| !chosen(path)).collect();
    assert_eq!(unknown, [""; 0], "are in the schema and not read");
}

/// A map in the file, with the schema of what stands in it.
fn maps<'a>(
    source: &'a Source,
    node: &Node,
    schema: &'a Node,
    path: &mut Vec<usize>,
    found: &mut Vec<(Vec<usize>, &'a Node)>,
) {
    let children: Vec<(usize, &Node, Option<&'a Node>)> = match &node.kind {
        Kind::Map(entries) => {
            found.push((path.clone(), schema));
            let known = source.keys(schema);
            let of = |key: &str| known.iter().find(|known| known.key == key).map(|known| &known.value);
            let other = || source.inner(schema, "additionalProperties");
            entries.iter().enumerate().map(|(i, e)| (i, &e.value, of(&e.key).or_else(other))).collect()
        }
        Kind::List(nodes) => nodes.iter().enumerate().map(|(i, n)| (i, n, source.inner(schema, "items"))).collect(),
        _ => Vec::new(),
    };
    for (i, child, schema) in children {
        let Some(schema) = schema else { continue };
        path.push(i);
        maps(source, child, schema, path, found);
        path.pop();
    }
}

fn at<'a>(node: &'a mut Node, path: &[usize]) -> &'a mut Vec<Entry> {
    match (&mut node.kind, path) {
        (Kind::Map(entries), []) => entries,
        (Kind::Map(entries), [first, rest @ ..]) => at(&mut entries[*first].value, rest),
        (Kind::List(nodes), [first, rest @ ..]) => at(&mut nodes[*first], rest),
        _ => panic!(),
    }
}

/// What is read, without its places.
fn understood(top: &Node) -> Option<String> {
    let sink = Sink::new(None);
    let config: Option<Config> = read::config(top, None, &sink);
    let said = format!("{:?}", config?);
    let without = said.split("Position {").map(|part| part.split_once('}').map_or(part, |(_, rest)| rest));
    (sink.count() == 0).then(|| without.collect())
}

#[test]
fn the_schema_has_the_defaults_that_the_readers_have() {
    let source = Source::new();
    let (top, mut found) = (source.top(), Vec::new());
    let file = yaml::parse(&everything().replace("    discovery:", "    #")).0.unwrap();
    assert!(understood(&file).is_some());
    maps(&source, &file, &top, &mut Vec::new(), &mut found);
    let (mut compared, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for (path, schema) in found {
        for Entry { key, value, .. } in source.keys(schema) {
            let Some(default) = get(value, "default").filter(|_| get(value, "x-default").is_none()) else { continue };
            let (mut without, mut with) = (file.clone(), file.clone());
            at(&mut without, &path).retain(|entry| entry.key != *key);
            let map = at(&mut with, &path);
            map.retain(|entry| entry.key != *key);
            map.push(Entry { key: key.clone(), at: default.at, value: default.clone() });
            match (understood(&without), understood(&with)) {
                (Some(without), Some(with)) => {
                    assert_eq!(without, with, "the default of {key} at {path:?}");
                    compared.insert(key);
                }
                _ => {
                    silent.insert(key);
                }
            }
        }
    }
    let never: Vec<_> = silent.difference(&compared).collect();
    assert!(compared.len() > 90, "{} were compared, these not: {never:?}", compared.len());
    assert_eq!(never, [&"client_ca"], "beside it stands client_auth, which it cannot be without");
}

#[test]
fn every_type_that_is_named_is_there() {
    let schema = schema(&[]);
    let text = schema.to_string();
    let mut references: Vec<&str> = text.split("\"$ref\":\"#").skip(1).map(|r| r.split('"').next().unwrap()).collect();
    references.sort_unstable();
    references.dedup();
    assert!(references.len() > 25, "{references:?}");
    let missing: Vec<_> = references.iter().filter(|pointer| schema.pointer(pointer).is_none()).collect();
    assert_eq!(missing, [&""; 0]);
}

#[test]
fn what_is_registered_has_its_name_where_it_may_stand() {
    let options = serde_json::json!({ "type": "object", "properties": { "header": { "type": "string" } } });
    let of = |kind, name: &str, options| Registered { kind, name: name.to_owned(), options };
    let known = [of("filter", "api_key", Some(options.clone())), of("balance", "first", None)];
    let schema = schema(&known);
    let at = |pointer: &str| schema.pointer(pointer).unwrap_or_else(|| panic!("{pointer}")).clone();
    assert_eq!(at("/$defs/filter_name/enum"), serde_json::json!(["api_key"]));
    assert_eq!(at("/$defs/filter/properties/api_key"), options);
    assert_eq!(at("/$defs/algorithm_name/enum/9"), "first");
    assert_eq!(at("/$defs/algorithm/properties/first"), serde_json::json!({}));
    assert_eq!(at("/$defs/discovery_name"), serde_json::json!({ "not": {} }), "nobody is one");
}

#[test]
fn links_are_left_out_of_what_editors_show() {
    for (text, plain) in [
        ("a [stop](never-down.md#stop): how long", "a stop: how long"),
        ("[`x`](y) and [z](w)", "`x` and z"),
        ("`[200-299]` stays, [one](two)", "`[200-299]` stays, one"),
        ("[", "["),
    ] {
        assert_eq!(expand::without_links(text), plain);
    }
}
