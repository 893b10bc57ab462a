//! What a route asks beyond host and path, in the form in which it is asked.

use http::Method;
use ipnet::IpNet;

use super::asked::{Asked, cookies, parameters};
use crate::config::{Match, ValueMatch};

/// All that must hold beside host and path.
#[derive(Debug)]
pub(super) struct Condition {
    methods: Vec<Method>,
    headers: Vec<(String, ValueMatch)>,
    query: Vec<(String, ValueMatch)>,
    cookies: Vec<(String, ValueMatch)>,
    client: Vec<IpNet>,
}

impl Condition {
    /// What this asks; `None` if that is nothing.
    pub(super) fn of(m: &Match) -> Option<Box<Self>> {
        let Match { host: _, path: _, methods, headers, query, cookies, client } = m;
        let nothing =
            methods.is_empty() && headers.is_empty() && query.is_empty() && cookies.is_empty() && client.is_empty();
        (!nothing).then(|| {
            Box::new(Condition {
                methods: methods.clone(),
                headers: headers.clone(),
                query: query.clone(),
                cookies: cookies.clone(),
                client: client.clone(),
            })
        })
    }

    /// Whether all of it holds. The cheap questions come first.
    pub(super) fn holds(&self, asked: &Asked<'_>) -> bool {
        (self.methods.is_empty() || self.methods.contains(asked.method))
            && (self.client.is_empty()
                || asked.client.is_some_and(|ip| self.client.iter().any(|net| net.contains(&ip))))
            && self.headers.iter().all(|(name, value)| any(value, asked.headers.get_all(name).iter()))
            && self.cookies.iter().all(|(name, value)| any(value, cookies(asked.headers, name)))
            && self.query.iter().all(|(name, value)| any(value, parameters(asked.query.unwrap_or_default(), name)))
    }
}

/// The first of what `m` asks beyond the path that does not hold, by its key; `None` if all of it does. For people: a request's own
/// way is [`Condition::holds`].
pub(super) fn missing(m: &Match, asked: &Asked<'_>) -> Option<String> {
    let parts = [
        ("methods".to_owned(), Match { methods: m.methods.clone(), ..Match::default() }),
        ("client".to_owned(), Match { client: m.client.clone(), ..Match::default() }),
    ];
    let headers = m
        .headers
        .iter()
        .map(|pair| (format!("headers.{}", pair.0), Match { headers: vec![pair.clone()], ..Match::default() }));
    let cookies = m
        .cookies
        .iter()
        .map(|pair| (format!("cookies.{}", pair.0), Match { cookies: vec![pair.clone()], ..Match::default() }));
    let query = m
        .query
        .iter()
        .map(|pair| (format!("query.{}", pair.0), Match { query: vec![pair.clone()], ..Match::default() }));
    let fails = |part: &Match| Condition::of(part).is_some_and(|condition| !condition.holds(asked));
    let mut parts = parts.into_iter().chain(headers).chain(cookies).chain(query);
    parts.find(|(_, part)| fails(part)).map(|(key, _)| key)
}

/// Whether it holds for one of these values.
fn any<V: AsRef<[u8]>>(value: &ValueMatch, mut values: impl Iterator<Item = V>) -> bool {
    match value {
        ValueMatch::Exact(text) => values.any(|value| value.as_ref() == text.as_bytes()),
        ValueMatch::Regex(regex) => values.any(|value| regex.is_match(value.as_ref())),
        ValueMatch::Present => values.next().is_some(),
        ValueMatch::Absent => values.next().is_none(),
    }
}
