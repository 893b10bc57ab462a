//! The routes of one host, found by the path.
//!
//! Exact paths and prefixes are looked up by their hashes: one look-up for the whole path, then one for each of its slashes that
//! ends a part no longer than the longest prefix. Regular expressions are tried one after the other. What else a route asks is
//! asked of those few that are left.

use std::collections::HashMap;

use ahash::RandomState;

use super::asked::Asked;
use super::condition::Condition;
use crate::config::{Match, PathMatch, Regex};

/// A route and what it asks beside host and path.
#[derive(Debug)]
struct Candidate {
    condition: Option<Box<Condition>>,
    number: usize,
}

/// Those that share host and path, in the order in which they are asked.
type Candidates = Vec<Candidate>;

/// The routes of one host.
#[derive(Debug, Default)]
pub(super) struct Paths {
    exact: HashMap<Box<str>, Candidates, RandomState>,
    /// In the order in which they are asked.
    regexes: Vec<(Regex, Candidate)>,
    prefixes: HashMap<Box<str>, Candidates, RandomState>,
    longest_prefix: usize,
    /// For any path.
    any: Candidates,
}

impl Paths {
    /// Add a route after all that come before it by precedence.
    pub(super) fn push(&mut self, m: &Match, number: usize) {
        let candidate = Candidate { condition: Condition::of(m), number };
        match &m.path {
            Some(PathMatch::Exact(path)) => self.exact.entry(path.as_str().into()).or_default().push(candidate),
            Some(PathMatch::Regex(regex)) => self.regexes.push((regex.clone(), candidate)),
            Some(PathMatch::Prefix(prefix)) => {
                self.longest_prefix = self.longest_prefix.max(prefix.len());
                self.prefixes.entry(prefix.as_str().into()).or_default().push(candidate);
            }
            None => self.any.push(candidate),
        }
    }

    pub(super) fn find(&self, asked: &Asked<'_>) -> Option<usize> {
        let exact = || first(self.exact.get(asked.path)?, asked);
        let any = || first(&self.any, asked);
        exact().or_else(|| self.find_regex(asked)).or_else(|| self.find_prefix(asked)).or_else(any)
    }

    fn find_regex(&self, asked: &Asked<'_>) -> Option<usize> {
        let matched =
            |(regex, candidate): &&(Regex, Candidate)| candidate.holds(asked) && regex.is_match(asked.path.as_bytes());
        self.regexes.iter().find(matched).map(|(_, candidate)| candidate.number)
    }

    /// The longest prefix first. A part of the path ends with it or before a slash.
    fn find_prefix(&self, asked: &Asked<'_>) -> Option<usize> {
        if self.prefixes.is_empty() {
            return None;
        }
        let path = asked.path.as_bytes();
        let mut end = match path.len() <= self.longest_prefix {
            true => path.len(),
            // A slash right behind the longest still ends it.
            false => memchr::memrchr(b'/', path.get(..=self.longest_prefix)?)?,
        };
        loop {
            let found = asked.path.get(..end).and_then(|part| self.prefixes.get(part));
            if let Some(number) = found.and_then(|candidates| first(candidates, asked)) {
                return Some(number);
            }
            end = memchr::memrchr(b'/', path.get(..end)?)?;
        }
    }
}

impl Candidate {
    fn holds(&self, asked: &Asked<'_>) -> bool {
        self.condition.as_ref().is_none_or(|condition| condition.holds(asked))
    }
}

fn first(candidates: &[Candidate], asked: &Asked<'_>) -> Option<usize> {
    candidates.iter().find(|candidate| candidate.holds(asked)).map(|candidate| candidate.number)
}
