//! Who matches: the route of a request, found by its host, its path and what else is asked.
//!
//! The host decides first: the exact name, then wildcards from the longest, then the routes without a host; of each what is
//! most specific, by [`Match::precedence`]. Where no route of a host takes a request, it falls through to the next wildcard.
//! Nothing of this walks over all routes, but for those whose path is a regular expression, and nothing of it allocates.

mod asked;
mod condition;
#[cfg(test)]
mod naive;
mod paths;

use std::collections::HashMap;

use ahash::RandomState;

pub use asked::{Asked, cookies, parameter};
use paths::Paths;

use crate::config::{HostMatch, Match};

/// No name in a configuration is longer.
const LONGEST_NAME: usize = 253;

/// Finds the route of a request.
#[derive(Debug, Default)]
pub struct Router {
    exact: HashMap<Box<[u8]>, Paths, RandomState>,
    /// By what follows the star, with its dot.
    suffixes: HashMap<Box<[u8]>, Paths, RandomState>,
    longest_suffix: usize,
    any: Paths,
    /// Set when there is nothing to compare: one route, for everything.
    only: Option<usize>,
}

impl Router {
    /// A router over these matches, numbered in their order.
    pub fn new<'a>(matches: impl IntoIterator<Item = &'a Match>) -> Self {
        let matches: Vec<&Match> = matches.into_iter().collect();
        let mut router = Router::default();
        for number in Match::in_order(matches.iter().copied()) {
            let m = matches[number];
            let paths = match &m.host {
                Some(HostMatch::Exact(host)) => router.exact.entry(host.as_bytes().into()).or_default(),
                Some(HostMatch::Suffix(suffix)) => {
                    router.longest_suffix = router.longest_suffix.max(suffix.len());
                    router.suffixes.entry(suffix.as_bytes().into()).or_default()
                }
                None => &mut router.any,
            };
            paths.push(m, number);
        }
        router.only = match &matches[..] {
            [m] if **m == Match::default() => Some(0),
            _ => None,
        };
        router
    }

    /// The number of the route for every request, if it is the same for every one.
    #[inline]
    pub fn only(&self) -> Option<usize> {
        self.only
    }

    /// The number of the route that takes this request.
    pub fn find(&self, asked: &Asked<'_>) -> Option<usize> {
        let of_host = || {
            if self.exact.is_empty() && self.suffixes.is_empty() {
                return None;
            }
            let mut buffer = [0; LONGEST_NAME];
            let host = buffer.get_mut(..asked.host.len())?;
            host.copy_from_slice(asked.host.as_bytes());
            host.make_ascii_lowercase();
            let exact = self.exact.get(&*host).and_then(|paths| paths.find(asked));
            exact.or_else(|| self.find_suffix(host, asked))
        };
        of_host().or_else(|| self.any.find(asked))
    }

    /// From the longest; at least one label stands for the star.
    fn find_suffix(&self, host: &[u8], asked: &Asked<'_>) -> Option<usize> {
        if self.suffixes.is_empty() {
            return None;
        }
        let from = host.len().saturating_sub(self.longest_suffix).max(1);
        let dots = memchr::memchr_iter(b'.', host.get(from..)?);
        dots.map(|dot| from + dot).find_map(|dot| self.suffixes.get(host.get(dot..)?)?.find(asked))
    }
}

/// Why a match does not take a request that has its host and its path: the first key that does not hold.
///
/// `None` if it takes it, or if it is not for such a host or path at all.
pub fn near_miss(m: &Match, asked: &Asked<'_>) -> Option<String> {
    let place = Match { host: m.host.clone(), path: m.path.clone(), ..Match::default() };
    Router::new([&place]).find(asked)?;
    condition::missing(m, asked)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::config::PathMatch;

    fn m(host: &str, path: &str) -> Match {
        Match {
            host: match host.strip_prefix('*') {
                _ if host.is_empty() => None,
                Some(suffix) => Some(HostMatch::Suffix(suffix.to_owned())),
                None => Some(HostMatch::Exact(host.to_owned())),
            },
            path: match path.strip_suffix('*') {
                _ if path.is_empty() => None,
                Some(prefix) => Some(PathMatch::Prefix(prefix.trim_end_matches('/').to_owned())),
                None => Some(PathMatch::Exact(path.to_owned())),
            },
            ..Match::default()
        }
    }

    #[test]
    fn the_most_specific_route_wins_whatever_the_order() {
        let mut routes = vec![
            m("", ""),
            m("*.example.com", ""),
            m("*.api.example.com", ""),
            m("api.example.com", "/v1*"),
            m("api.example.com", "/v1/users*"),
            m("api.example.com", "/v1"),
            m("", "/health"),
        ];
        let cases = [
            ("other.org", "/", "", ""),
            ("other.org", "/health", "", "/health"),
            ("www.example.com", "/", "*.example.com", ""),
            ("www.example.com", "/health", "*.example.com", ""),
            ("x.api.example.com", "/", "*.api.example.com", ""),
            ("example.com", "/", "", ""),
            ("API.example.COM", "/v1", "api.example.com", "/v1"),
            ("api.example.com", "/v1/", "api.example.com", "/v1*"),
            ("api.example.com", "/v1/users/7", "api.example.com", "/v1/users*"),
            ("api.example.com", "/v10", "*.example.com", ""),
        ];
        let headers = HeaderMap::new();
        for seed in 0..20 {
            fastrand::Rng::with_seed(seed).shuffle(&mut routes);
            let router = Router::new(&routes);
            for (host, path, host_match, path_match) in cases {
                let found = router.find(&Asked::get(host, path, &headers)).map(|number| &routes[number]);
                assert_eq!(found, Some(&m(host_match, path_match)), "{host} {path}");
            }
        }
    }

    #[test]
    fn no_route_is_none() {
        let (router, headers) = (Router::new(&[m("a.org", "")]), HeaderMap::new());
        assert_eq!(router.find(&Asked::get("b.org", "/", &headers)), None);
        assert_eq!(router.find(&Asked::get(&"a.".repeat(200), "/", &headers)), None);
        assert_eq!(router.only(), None);
        assert_eq!(Router::new(&[m("", "")]).only(), Some(0));
    }

    #[test]
    fn a_prefix_of_slash_is_everything() {
        let headers = HeaderMap::new();
        let router = Router::new(&[m("", "/*"), m("x", "")]);
        assert_eq!(router.find(&Asked::get("y", "/any", &headers)), Some(0));
        assert_eq!(router.find(&Asked::get("y", "*", &headers)), None, "of OPTIONS, it is no path");
    }
}
