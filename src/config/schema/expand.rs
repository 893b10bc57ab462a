//! From our short hand to JSON Schema.

use serde_json::{Map, Value as Json, json};

use super::Registered;

/// What `type` means by itself; every other name is one of `$defs`.
const OWN_TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];

/// Keywords under which further schemas stand, by their names.
const BY_NAME: [&str; 1] = ["properties"];
/// And those that are one.
const ONE: [&str; 2] = ["items", "additionalProperties"];

/// A schema as JSON Schema has it.
pub(super) fn expand(short: &Json, registered: &[Registered]) -> Json {
    let Some(short) = short.as_object() else {
        return short.clone();
    };
    let mut schema = Map::new();
    for (key, value) in short {
        match key.as_str() {
            "type" => put_type(&mut schema, value),
            "enum" => put(&mut schema, "enum", Json::Array(words(value))),
            "description" => put_description(&mut schema, value),
            key if key.starts_with("x-") => {}
            key if BY_NAME.contains(&key) => put(&mut schema, key, each(value, registered)),
            key if ONE.contains(&key) => put(&mut schema, key, expand(value, registered)),
            key => put(&mut schema, key, value.clone()),
        }
    }
    if let Some(kind) = short.get("x-registered").and_then(Json::as_str) {
        add(&mut schema, registered.iter().filter(|extension| extension.kind == kind));
    }
    if schema.contains_key("properties") {
        schema.entry("additionalProperties").or_insert(json!(false));
    }
    Json::Object(schema)
}

fn put(schema: &mut Map<String, Json>, key: &str, value: Json) {
    schema.insert(key.to_owned(), value);
}

fn each(properties: &Json, registered: &[Registered]) -> Json {
    let properties = properties.as_object().into_iter().flatten();
    properties.map(|(name, schema)| (name.clone(), expand(schema, registered))).collect::<Map<_, _>>().into()
}

/// One type, or several of which it is one. JSON Schema's keywords say each of which type they are, and may stay beside it.
fn put_type(schema: &mut Map<String, Json>, value: &Json) {
    let names = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    match names {
        [Json::String(name)] if OWN_TYPES.contains(&name.as_str()) => put(schema, "type", value.clone()),
        [name] => put(schema, "$ref", reference(name)),
        names => put(schema, "anyOf", names.iter().map(one_of).collect()),
    }
}

fn one_of(name: &Json) -> Json {
    match name.as_str() {
        Some(own) if OWN_TYPES.contains(&own) => json!({ "type": own }),
        _ => json!({ "$ref": reference(name) }),
    }
}

fn reference(name: &Json) -> Json {
    json!(format!("#/$defs/{}", name.as_str().unwrap_or_default()))
}

/// Some readers of YAML take `off` for `false`, and check that against the schema.
fn words(value: &Json) -> Vec<Json> {
    let mut words = value.as_array().cloned().unwrap_or_default();
    let twins: Vec<Json> = words
        .iter()
        .filter_map(|word| match word.as_str()? {
            "on" => Some(json!(true)),
            "off" => Some(json!(false)),
            _ => None,
        })
        .collect();
    words.extend(twins);
    words
}

/// Editors show it as it is, and its links lead nowhere from there.
fn put_description(schema: &mut Map<String, Json>, value: &Json) {
    let text = value.as_str().map(without_links).unwrap_or_default();
    if !text.is_empty() {
        put(schema, "description", json!(text));
    }
}

/// `[text](target)` as `text`.
pub(super) fn without_links(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        let link = after.split_once("](").and_then(|(shown, target)| Some((shown, target.split_once(')')?.1)));
        plain.push_str(before);
        match link.filter(|(shown, _)| !shown.contains(['[', ']'])) {
            Some((shown, after)) => {
                plain.push_str(shown);
                rest = after;
            }
            None => {
                plain.push('[');
                rest = after;
            }
        }
    }
    plain + rest
}

/// The names of extensions: words of an enumeration, or keys beside which their options stand.
fn add<'a>(schema: &mut Map<String, Json>, extensions: impl Iterator<Item = &'a Registered>) {
    let anything = json!({});
    for extension in extensions {
        if let Some(words) = schema.get_mut("enum").and_then(Json::as_array_mut) {
            words.push(json!(extension.name));
        }
        if let Some(keys) = schema.get_mut("properties").and_then(Json::as_object_mut) {
            let options = extension.options.as_ref().unwrap_or(&anything);
            keys.insert(extension.name.clone(), options.clone());
        }
    }
    // An empty enumeration is none, and nothing is what it allows.
    if schema.get("enum").is_some_and(|words| words.as_array().is_some_and(Vec::is_empty)) {
        schema.remove("enum");
        put(schema, "not", json!({}));
    }
}
