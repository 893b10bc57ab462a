//! Who matches: the route of a request, found by host and path.

use crate::config::{HostMatch, Match, PathMatch};

/// Routes in the order of their precedence.
#[derive(Debug, Default)]
pub struct Router {
    /// Most specific first; each with its number in the configuration.
    matches: Vec<(Match, usize)>,
    /// Set when there is nothing to compare: one route, for everything.
    only: Option<usize>,
}

impl Router {
    /// A router over these matches, numbered in their order.
    pub fn new<'a>(matches: impl IntoIterator<Item = &'a Match>) -> Self {
        let mut matches: Vec<(Match, usize)> = matches.into_iter().cloned().zip(0..).collect();
        matches.sort_by_key(|(m, number)| (std::cmp::Reverse(precedence(m)), *number));
        let only = match &matches[..] {
            [(m, number)] if *m == Match::default() => Some(*number),
            _ => None,
        };
        Router { matches, only }
    }

    /// The number of the route for every request, if it is the same for every one.
    #[inline]
    pub fn only(&self) -> Option<usize> {
        self.only
    }

    /// The number of the most specific route for a host (without port, in any case) and a path (without query).
    pub fn find(&self, host: &str, path: &str) -> Option<usize> {
        let matched = |(m, _): &&(Match, usize)| host_matches(m, host) && path_matches(m, path);
        self.matches.iter().find(matched).map(|(_, number)| *number)
    }
}

/// The Gateway API's order: an exact host before a wildcard and the longer wildcard first, then an exact path before a
/// prefix and the longer prefix first.
fn precedence(m: &Match) -> (u8, usize, u8, usize) {
    let (host, host_length) = match &m.host {
        Some(HostMatch::Exact(host)) => (2, host.len()),
        Some(HostMatch::Suffix(suffix)) => (1, suffix.len()),
        None => (0, 0),
    };
    let (path, path_length) = match &m.path {
        Some(PathMatch::Exact(path)) => (2, path.len()),
        Some(PathMatch::Prefix(prefix)) => (1, prefix.len()),
        None => (0, 0),
    };
    (host, host_length, path, path_length)
}

fn host_matches(m: &Match, host: &str) -> bool {
    match &m.host {
        None => true,
        Some(HostMatch::Exact(exact)) => host.eq_ignore_ascii_case(exact),
        Some(HostMatch::Suffix(suffix)) => host
            .len()
            .checked_sub(suffix.len())
            .filter(|&label| label > 0)
            .and_then(|label| host.get(label..))
            .is_some_and(|end| end.eq_ignore_ascii_case(suffix)),
    }
}

fn path_matches(m: &Match, path: &str) -> bool {
    match &m.path {
        None => true,
        Some(PathMatch::Exact(exact)) => path == exact,
        Some(PathMatch::Prefix(prefix)) => {
            path.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for seed in 0..20 {
            fastrand::Rng::with_seed(seed).shuffle(&mut routes);
            let router = Router::new(&routes);
            for (host, path, host_match, path_match) in cases {
                let found = router.find(host, path).map(|number| &routes[number]);
                assert_eq!(found, Some(&m(host_match, path_match)), "{host} {path}");
            }
        }
    }

    #[test]
    fn no_route_is_none() {
        let router = Router::new(&[m("a.org", "")]);
        assert_eq!(router.find("b.org", "/"), None);
        assert_eq!(router.only(), None);
        assert_eq!(Router::new(&[m("", "")]).only(), Some(0));
    }

    #[test]
    fn a_prefix_of_slash_is_everything() {
        assert_eq!(Router::new(&[m("", "/*"), m("x", "")]).find("y", "/any"), Some(0));
    }
}
