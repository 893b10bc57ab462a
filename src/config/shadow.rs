//! Routes that no request ever takes, because others are asked before and take all that they would.
//!
//! Whatever comes before by its precedence and is not narrower has the same host and the same path. So only routes that share
//! both are compared, condition by condition. A regular expression is taken to imply itself and nothing else.

use std::collections::HashMap;

use http::Method;
use ipnet::IpNet;

use super::{Match, ValueMatch};

/// Of each match that never gets a request, its place in the list, and that of one which is asked before it.
pub(super) fn shadowed(matches: &[&Match]) -> Vec<(usize, usize)> {
    let mut before: HashMap<_, Vec<usize>> = HashMap::new();
    let mut found = Vec::new();
    for place in Match::in_order(matches.iter().copied()) {
        let this = matches[place];
        let peers = before.entry((&this.host, &this.path)).or_default();
        match taken(this, peers, matches) {
            Some(by) => found.push((place, by)),
            None => peers.push(place),
        }
    }
    found.sort_unstable();
    found
}

/// One of the peers, if together they take all that this would: for each of its methods and networks, one of them does.
fn taken(this: &Match, peers: &[usize], matches: &[&Match]) -> Option<usize> {
    let able: Vec<usize> = peers.iter().copied().filter(|peer| implied(this, matches[*peer])).collect();
    if able.is_empty() {
        return None;
    }
    let methods: Vec<_> = if this.methods.is_empty() { vec![None] } else { this.methods.iter().map(Some).collect() };
    let nets: Vec<_> = if this.client.is_empty() { vec![None] } else { this.client.iter().map(Some).collect() };
    let mut by = None;
    for method in methods {
        for net in &nets {
            let peer = able.iter().copied().find(|peer| takes(matches[*peer], method, *net))?;
            by.get_or_insert(peer);
        }
    }
    by
}

fn takes(peer: &Match, method: Option<&Method>, net: Option<&IpNet>) -> bool {
    let methods = peer.methods.is_empty() || method.is_some_and(|method| peer.methods.contains(method));
    methods && (peer.client.is_empty() || net.is_some_and(|net| peer.client.iter().any(|wider| wider.contains(net))))
}

/// Whether what `this` asks of headers, query and cookies is all that `peer` asks, or more.
fn implied(this: &Match, peer: &Match) -> bool {
    let all = |ours: &[(String, ValueMatch)], theirs: &[(String, ValueMatch)]| {
        theirs.iter().all(|(name, value)| ours.iter().any(|(known, ours)| known == name && implies(ours, value)))
    };
    all(&this.headers, &peer.headers) && all(&this.query, &peer.query) && all(&this.cookies, &peer.cookies)
}

fn implies(this: &ValueMatch, other: &ValueMatch) -> bool {
    match (this, other) {
        (ValueMatch::Exact(text), ValueMatch::Regex(regex)) => regex.is_match(text.as_bytes()),
        (ValueMatch::Exact(_) | ValueMatch::Regex(_), ValueMatch::Present) => true,
        _ => this == other,
    }
}
