//! The tables of keys in `docs/`, made of the schema's own source.
//!
//! A document says which stands where by two lines, `<!-- keys: limits -->` and `<!-- end of keys -->`, after the name of a
//! definition or of a built-in filter. What is between them is made anew by `EVENKEEL_WRITE_DOCS=1 cargo test --lib tables`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::node::{Kind, Node};
use super::{FILES, entries};

const END: &str = "<!-- end of keys -->";
const HEAD: &str = "| key | type | default | meaning |\n|---|---|---|---|\n";

/// Everything that a table may be of, by name.
struct Definitions(BTreeMap<String, Node>);

fn get<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    match &node.kind {
        Kind::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value),
        _ => None,
    }
}

fn text<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    match &get(node, key)?.kind {
        Kind::Scalar { text, .. } => Some(text),
        _ => None,
    }
}

fn list(node: &Node, key: &str) -> Vec<String> {
    match get(node, key).map(|node| &node.kind) {
        Some(Kind::List(nodes)) => nodes.iter().map(written).collect(),
        Some(Kind::Scalar { text, .. }) => vec![text.clone()],
        _ => Vec::new(),
    }
}

/// A value as the file would have it, on one line.
fn written(node: &Node) -> String {
    match &node.kind {
        Kind::Null => "null".to_owned(),
        Kind::Scalar { text, .. } if text.is_empty() => r#""""#.to_owned(),
        Kind::Scalar { text, .. } => text.clone(),
        Kind::List(nodes) => format!("[{}]", nodes.iter().map(written).collect::<Vec<_>>().join(", ")),
        Kind::Map(entries) if entries.is_empty() => "{}".to_owned(),
        Kind::Map(entries) => {
            let pairs: Vec<_> = entries.iter().map(|e| format!("{}: {}", e.key, written(&e.value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
    }
}

/// `a, b or c`; with one more comma where a word is itself several.
fn or(words: &[String]) -> String {
    let several = |word: &String| word.contains(" to ") || word.contains(" or ");
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [before @ .., last] if before.iter().any(several) => format!("{}, or {last}", before.join(", ")),
        [before @ .., last] => format!("{} or {last}", before.join(", ")),
    }
}

impl Definitions {
    /// Ours, and those of these names and texts.
    fn new(more: &[(&str, &str)]) -> Self {
        let parsed = |(name, text): &(&str, &str)| ((*name).to_owned(), super::super::yaml::parse(text).0.unwrap());
        let all: Vec<_> = FILES.iter().flat_map(|text| entries(text)).chain(more.iter().map(parsed)).collect();
        let number = all.len();
        let definitions = Definitions(all.into_iter().collect());
        assert_eq!(definitions.0.len(), number, "two definitions of one name");
        definitions
    }

    fn table(&self, name: &str) -> Option<String> {
        let mut rows = String::from(HEAD);
        self.rows(self.0.get(name)?, "", &mut rows);
        Some(rows)
    }

    fn rows(&self, map: &Node, before: &str, rows: &mut String) {
        let Some(Node { kind: Kind::Map(entries), .. }) = get(map, "properties") else { return };
        let needed = list(map, "required");
        for entry in entries {
            let (key, schema) = (format!("{before}{}", entry.key), &entry.value);
            if get(schema, "x-inline").is_none() {
                let default = match (text(schema, "x-default"), get(schema, "default")) {
                    (Some(said), _) => said.to_owned(),
                    (None, Some(default)) => format!("`{}`", written(default)),
                    (None, None) if needed.contains(&entry.key) => "needed".to_owned(),
                    (None, None) => String::new(),
                };
                let about = text(schema, "description").unwrap_or_default();
                let row = format!("| `{key}` | {} | {default} | {about} |\n", self.kind(schema));
                rows.push_str(&row.replace("|  |", "| |"));
            }
            self.rows(schema, &format!("{key}."), rows);
            if let Some(items) = get(schema, "items") {
                self.rows(items, &format!("{key}[]."), rows);
            }
        }
    }

    fn kind(&self, schema: &Node) -> String {
        if let Some(said) = text(schema, "x-type") {
            return said.to_owned();
        }
        let words: Vec<String> = list(schema, "enum").iter().map(|word| format!("`{word}`")).collect();
        if !words.is_empty() {
            return or(&words);
        }
        let kinds: Vec<String> = list(schema, "type")
            .iter()
            .filter(|name| *name != "nothing")
            .map(|name| match name.as_str() {
                "array" => "list".to_owned(),
                "boolean" => "`true` or `false`".to_owned(),
                "integer" => range(schema),
                "object" => "map".to_owned(),
                "string" => "text".to_owned(),
                name => self.0.get(name).map(|definition| self.kind(definition)).unwrap_or_else(|| panic!("{name}?")),
            })
            .collect();
        or(&kinds)
    }
}

fn range(schema: &Node) -> String {
    match (text(schema, "minimum"), text(schema, "maximum")) {
        (Some(low), Some(high)) => format!("{low} to {high}"),
        (Some(low), None) => format!("{low} or more"),
        _ => "number".to_owned(),
    }
}

/// The document with its tables made anew, and how many there are.
fn renewed(document: &str, definitions: &Definitions) -> (String, usize) {
    let (mut renewed, mut rest, mut tables) = (String::new(), document, 0);
    while let Some((before, after)) = rest.split_once("<!-- keys: ") {
        let (name, after) = after.split_once(" -->\n").unwrap();
        let (_, after) = after.split_once(END).unwrap_or_else(|| panic!("no end of the keys of {name}"));
        let table = definitions.table(name).unwrap_or_else(|| panic!("there are no keys of {name}"));
        renewed.push_str(&format!("{before}<!-- keys: {name} -->\n{table}{END}"));
        (rest, tables) = (after, tables + 1);
    }
    (renewed + rest, tables)
}

fn documents(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("md") => found.push(path),
            _ if path.is_dir() => found.extend(documents(&path)),
            _ => {}
        }
    }
    found
}

/// Hold the tables of the documents against the schema and these, or write them anew if that is asked for. How many there are.
pub(crate) fn renew_documents(more: &[(&str, &str)]) -> usize {
    let (definitions, mut found) = (Definitions::new(more), 0);
    for path in documents(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")) {
        let document = std::fs::read_to_string(&path).unwrap();
        let (renewed, tables) = renewed(&document, &definitions);
        found += tables;
        if document != renewed && std::env::var_os("EVENKEEL_WRITE_DOCS").is_some() {
            std::fs::write(&path, renewed).unwrap();
        } else {
            let help = "run EVENKEEL_WRITE_DOCS=1 cargo test --lib tables";
            assert!(document == renewed, "{} has other tables than the schema: {help}", path.display());
        }
    }
    found
}
