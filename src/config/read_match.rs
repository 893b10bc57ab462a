//! `routes[].match`: what a request must be.

use http::Method;

use super::map::Map;
use super::node::{Entry, Kind};
use super::read_listener::networks;
use super::reader::Value;
use super::text::quoted;
use super::{HostMatch, Match, PathMatch, ValueMatch, address, normal_path};

/// What a route asks for; `None` if it is wrong.
pub(super) fn matches(value: &Value<'_>, normalize: bool) -> Option<Match> {
    let mut map = value.map()?;
    let host = map.get("host").map(|v| host(&v));
    let path = path_match(&mut map, normalize);
    let methods = map.get("methods").map(|v| methods(&v));
    let headers = map.get("headers").map(|v| pairs(&v, "headers", header));
    let query = map.get("query").map(|v| pairs(&v, "query parameters", |v| Some(v.text(PARAMETER)?.to_owned())));
    let cookies =
        map.get("cookies").map(|v| pairs(&v, "cookies", |v| Some(v.token("the name of a cookie")?.to_owned())));
    let client = map.get("client").map(|v| {
        // An empty list would be nobody, or everybody.
        let mistakes = v.sink.count();
        v.list("addresses")?;
        Some(networks(&v)).filter(|_| v.sink.count() == mistakes)
    });
    map.done();
    Some(Match {
        host: given(host)?,
        path: given(path)?,
        methods: given(methods)?.unwrap_or_default(),
        headers: given(headers)?.unwrap_or_default(),
        query: given(query)?.unwrap_or_default(),
        cookies: given(cookies)?.unwrap_or_default(),
        client: given(client)?.unwrap_or_default(),
    })
}

const PARAMETER: &str = "the name of a query parameter";

/// What is not there is well, what is there and wrong is not.
fn given<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        None => Some(None),
        Some(read) => read.map(Some),
    }
}

fn host(value: &Value<'_>) -> Option<HostMatch> {
    let text = value.text("a host name")?;
    if let Some(literal) = address::literal(text) {
        return Some(HostMatch::Exact(format!("[{literal}]")));
    }
    let (wild, name) = match text.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, text),
    };
    let hint = match address::name(name) {
        Ok(name) if wild => return Some(HostMatch::Suffix(format!(".{name}"))),
        Ok(name) => return Some(HostMatch::Exact(name)),
        Err(_) if name.contains('*') => "a '*' stands only in front, like *.example.com",
        Err(_) if name.contains(':') => "without a port",
        Err(hint) => hint,
    };
    value.wrong(format!("must be a host name, got {} ({hint})", value.shown()));
    None
}

/// Of the three forms of a path, the one that there is.
fn path_match(map: &mut Map<'_>, normalize: bool) -> Option<Option<PathMatch>> {
    let forms =
        [("path", map.get("path")), ("path_prefix", map.get("path_prefix")), ("path_regex", map.get("path_regex"))];
    let mut forms = forms.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let (name, value) = forms.next()?;
    if let Some((_, other)) = forms.next() {
        other.wrong(format!("cannot stand beside '{name}': a match has one or the other"));
        return Some(None);
    }
    Some(match name {
        "path" => asked(&value, normalize).map(|path| PathMatch::Exact(path.to_owned())),
        "path_prefix" => asked(&value, normalize).map(|path| PathMatch::Prefix(path.trim_end_matches('/').to_owned())),
        _ => value.regex().map(PathMatch::Regex),
    })
}

/// A path that a request may have when it is routed: in its one form, if requests are brought into that.
fn asked<'a>(value: &Value<'a>, normalize: bool) -> Option<&'a str> {
    let text = path(value)?;
    let why = match normal_path(text) {
        Ok(Some(form)) if normalize => format!("write {}, the one form that normalize_path gives it", quoted(&form)),
        Err(_) if normalize => "normalize_path refuses it, because readers disagree on what it names".to_owned(),
        _ => return Some(text),
    };
    value.wrong(format!("never matches: no request has the path {} when it is routed ({why})", value.shown()));
    None
}

/// A path that starts with a slash.
pub(super) fn path<'a>(value: &Value<'a>) -> Option<&'a str> {
    let text = value.text("a path that starts with '/'")?;
    if !text.starts_with('/') {
        value.must_be("a path that starts with '/'");
        return None;
    }
    if text.contains(['?', '#']) {
        value.wrong(format!("must be a path without a query, got {}", value.shown()));
        return None;
    }
    Some(text)
}

fn methods(value: &Value<'_>) -> Option<Vec<Method>> {
    let mut found = Vec::new();
    for item in value.list("methods")? {
        let method = method(&item)?;
        if found.contains(&method) {
            item.wrong("is in this list already");
            return None;
        }
        found.push(method);
    }
    found.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    Some(found)
}

fn method(value: &Value<'_>) -> Option<Method> {
    let text = value.token("a method, like GET")?;
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::TRACE | Method::CONNECT) => value.wrong("is refused before it gets here, with 405"),
        _ if text.bytes().any(|b| b.is_ascii_lowercase()) => {
            value.wrong(format!("must be in upper case, as requests have it, got {}", value.shown()));
        }
        Ok(method) => return Some(method),
        Err(_) => value.must_be("a method, like GET"),
    }
    None
}

/// The name of a header, in lower case.
fn header(name: &Value<'_>) -> Option<String> {
    let token = name.token("the name of a header")?.to_ascii_lowercase();
    if token == "host" {
        name.wrong("is not matched as a header: write match: { host: … }");
        return None;
    }
    Some(token)
}

/// Names and what their values must be, in the order of the names.
fn pairs(
    value: &Value<'_>,
    what: &str,
    name: impl Fn(&Value<'_>) -> Option<String>,
) -> Option<Vec<(String, ValueMatch)>> {
    let form = format!("a map of {what}, NAME: value, NAME: {{ regex: … }} or NAME: {{ present: true }}");
    let entries = value.entries(&form)?;
    if entries.is_empty() {
        value.wrong(format!("must be {form}, got an empty one"));
        return None;
    }
    let mut found: Vec<(String, ValueMatch)> = Vec::new();
    for entry in entries {
        let read = (pair_name(value, entry, &name), value_match(&value.child(entry)));
        let (Some(name), Some(matched)) = read else { return None };
        if found.iter().any(|(known, _)| *known == name) {
            value.child(entry).wrong(format!("is {} again, which is there already", quoted(&name)));
            return None;
        }
        found.push((name, matched));
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Some(found)
}

/// The key of an entry, read as if it were a value.
fn pair_name(map: &Value<'_>, entry: &Entry, name: impl Fn(&Value<'_>) -> Option<String>) -> Option<String> {
    let kind = Kind::Scalar { text: entry.key.clone(), plain: false };
    let node = super::node::Node { at: entry.at, kind };
    name(&Value { node: &node, at: entry.at, key: map.child(entry).key, sink: map.sink })
}

fn value_match(value: &Value<'_>) -> Option<ValueMatch> {
    const FORM: &str = "a text, { regex: … } or { present: true }";
    if let Some(text) = value.scalar() {
        return Some(ValueMatch::Exact(text.to_owned()));
    }
    match value.entries(FORM)? {
        [entry] if entry.key == "regex" => value.child(entry).regex().map(ValueMatch::Regex),
        [entry] if entry.key == "present" => match value.child(entry).boolean()? {
            true => Some(ValueMatch::Present),
            false => Some(ValueMatch::Absent),
        },
        _ => {
            value.must_be(FORM);
            None
        }
    }
}
