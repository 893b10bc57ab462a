//! What a request must be to take a route, and which of two matches comes first.

use std::cmp::Reverse;
use std::fmt;

use http::Method;
use ipnet::IpNet;

use super::{Regex, looks_secret};

/// What a request must be to take a route: all of it. What is absent matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Match {
    /// The host, without a port, in lower case.
    pub host: Option<HostMatch>,
    /// The path, without the query.
    pub path: Option<PathMatch>,
    /// One of these methods, in the order of their names; if it is empty, any.
    pub methods: Vec<Method>,
    /// Headers, by their names in lower case, in the order of those.
    pub headers: Vec<(String, ValueMatch)>,
    /// Parameters of the query, by their decoded names, in the order of those.
    pub query: Vec<(String, ValueMatch)>,
    /// Cookies, in the order of their names.
    pub cookies: Vec<(String, ValueMatch)>,
    /// The client is in one of these networks; if it is empty, anywhere.
    pub client: Vec<IpNet>,
}

/// A match on the host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostMatch {
    /// `api.example.com`
    Exact(String),
    /// `*.example.com`, kept without the star: `.example.com`. One label or more in its place.
    Suffix(String),
}

/// A match on the path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathMatch {
    /// `path: /health`
    Exact(String),
    /// `path_regex: ^/users/[0-9]+$`, which may match anywhere in the path.
    Regex(Regex),
    /// `path_prefix: /v1` matches `/v1` and `/v1/x`, not `/v10`. Kept without a trailing slash.
    Prefix(String),
}

/// A match on what may be there once, several times or not at all: it holds if it holds for one of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ValueMatch {
    /// `x: "1"`
    Exact(String),
    /// `x: { regex: … }`, which may match anywhere in the value.
    Regex(Regex),
    /// `x: { present: true }`
    Present,
    /// `x: { present: false }`
    Absent,
}

/// The place of a match among others: the greatest is asked first.
pub type Precedence = (u8, usize, u8, usize, bool, usize, usize, usize, Option<u8>);

impl Match {
    /// Its place among others, by the Gateway API's rules: an exact host before a wildcard, the longer wildcard before the
    /// shorter; then an exact path, a regular expression, the longer prefix; then methods, the number of headers and of query
    /// parameters. Beyond these rules: of regular expressions the longer, cookies, and the narrower network of the client.
    pub fn precedence(&self) -> Precedence {
        let (host, host_length) = match &self.host {
            Some(HostMatch::Exact(host)) => (2, host.len()),
            Some(HostMatch::Suffix(suffix)) => (1, suffix.len()),
            None => (0, 0),
        };
        let (path, path_length) = match &self.path {
            Some(PathMatch::Exact(path)) => (3, path.len()),
            Some(PathMatch::Regex(regex)) => (2, regex.as_str().len()),
            Some(PathMatch::Prefix(prefix)) => (1, prefix.len()),
            None => (0, 0),
        };
        let widest = self.client.iter().map(|net| net.prefix_len() + if net.addr().is_ipv4() { 96 } else { 0 }).min();
        let (headers, query, cookies) = (self.headers.len(), self.query.len(), self.cookies.len());
        (host, host_length, path, path_length, !self.methods.is_empty(), headers, query, cookies, widest)
    }

    /// The order in which these are asked, as places in the list; those of the same precedence in the order of the list.
    pub fn in_order<'a>(matches: impl IntoIterator<Item = &'a Match>) -> Vec<usize> {
        let mut places: Vec<_> = matches.into_iter().map(Match::precedence).zip(0..).collect();
        places.sort_by_key(|(precedence, place)| (Reverse(*precedence), *place));
        places.into_iter().map(|(_, place)| place).collect()
    }
}

/// `api.example.com/v1/*`, `GET,HEAD *.example.com header x-canary=1`, `everything else`
impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Match { host, path, methods, headers, query, cookies, client } = self;
        let host = match host {
            Some(HostMatch::Exact(host)) => host.clone(),
            Some(HostMatch::Suffix(suffix)) => format!("*{suffix}"),
            None => String::new(),
        };
        let path = match path {
            Some(PathMatch::Exact(path)) => path.clone(),
            Some(PathMatch::Regex(regex)) => format!("~{}", regex.as_str()),
            Some(PathMatch::Prefix(prefix)) => format!("{prefix}/*"),
            None => String::new(),
        };
        let methods: Vec<&str> = methods.iter().map(|method| method.as_str()).collect();
        let networks: Vec<String> = client.iter().map(ToString::to_string).collect();
        let mut words = vec![methods.join(","), host + &path];
        for (what, pairs) in [("header", headers), ("query", query), ("cookie", cookies)] {
            words.extend(pairs.iter().map(|(name, value)| format!("{what} {}", pair(name, value))));
        }
        if !networks.is_empty() {
            words.push(format!("client {}", networks.join(",")));
        }
        words.retain(|word| !word.is_empty());
        f.write_str(&if words.is_empty() { "everything else".to_owned() } else { words.join(" ") })
    }
}

fn pair(name: &str, value: &ValueMatch) -> String {
    // What is asked of it may be what only those know who may come in.
    let shown = !looks_secret(name) && !matches!(name, "authorization" | "cookie");
    match value {
        ValueMatch::Exact(text) if shown => format!("{name}={text}"),
        ValueMatch::Exact(_) => format!("{name}=…"),
        ValueMatch::Regex(regex) if shown => format!("{name}~{}", regex.as_str()),
        ValueMatch::Regex(_) => format!("{name}~…"),
        ValueMatch::Present => name.to_owned(),
        ValueMatch::Absent => format!("no {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        // The pattern of a secret was.
        let exact = ValueMatch::Exact("open-sesame".to_owned());
        let regex = ValueMatch::Regex(Regex::new("^open-(sesame|poppy)$").unwrap());
        for (name, value, shown) in [
            ("x-api-key", &exact, "header x-api-key=…"),
            ("x-api-key", &regex, "header x-api-key~…"),
            ("authorization", &regex, "header authorization~…"),
            ("x-canary", &exact, "header x-canary=open-sesame"),
            ("x-canary", &regex, "header x-canary~^open-(sesame|poppy)$"),
        ] {
            let matches = Match { headers: vec![(name.to_owned(), value.clone())], ..Match::default() };
            assert_eq!(matches.to_string(), shown);
        }
    }
}
