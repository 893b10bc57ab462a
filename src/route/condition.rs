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

/// Whether it holds for one of these values.
fn any<V: AsRef<[u8]>>(value: &ValueMatch, mut values: impl Iterator<Item = V>) -> bool {
    match value {
        ValueMatch::Exact(text) => values.any(|value| value.as_ref() == text.as_bytes()),
        ValueMatch::Regex(regex) => values.any(|value| regex.is_match(value.as_ref())),
        ValueMatch::Present => values.next().is_some(),
        ValueMatch::Absent => values.next().is_none(),
    }
}
