//! `routes`: which request goes where.

use std::collections::HashMap;

use super::map::Map;
use super::read_pool::NamedPool;
use super::read_timeouts::route_timeouts;
use super::reader::{Value, line};
use super::text::{nearest, quoted, short};
use super::{Action, HostMatch, Match, PathMatch, Position, Priority, Respond, Route, RouteTimeouts, address};

/// Read `routes`. Without any, everything goes to the pool, if there is just one.
pub(super) fn routes(top: &mut Map<'_>, pools: &[NamedPool]) -> Vec<Route> {
    let Some(value) = top.get("routes") else {
        return default_route(top, pools);
    };
    let mut found = Vec::new();
    let mut seen: HashMap<Match, (usize, Position)> = HashMap::new();
    for (i, item) in value.list("routes").unwrap_or_default().into_iter().enumerate() {
        let Some(route) = route(&item, pools) else {
            continue;
        };
        match seen.get(&route.matches) {
            Some((first, at)) => item.wrong(format!("has the same match as routes[{first}]{}", line(*at))),
            None => {
                seen.insert(route.matches.clone(), (i, item.at));
            }
        }
        found.push(route);
    }
    found
}

fn default_route(top: &mut Map<'_>, pools: &[NamedPool]) -> Vec<Route> {
    match pools {
        [] => Vec::new(),
        [(_, pool)] => vec![Route {
            matches: Match::default(),
            action: Action::Pool(0),
            filters: Vec::new(),
            priority: Priority::default(),
            timeouts: RouteTimeouts::default(),
            at: pool.as_ref().map_or(top.at.into(), |pool| pool.at),
        }],
        [(first, _), ..] => {
            top.wrong(format!(
                "needs 'routes' to say which of the {} pools a request goes to, like routes: [{{ pool: {} }}]",
                pools.len(),
                short(first)
            ));
            Vec::new()
        }
    }
}

fn route(value: &Value<'_>, pools: &[NamedPool]) -> Option<Route> {
    let mut map = value.map()?;
    let matches = map.get("match").map_or(Some(Match::default()), |v| matches(&v));
    let action = match (map.get("pool"), map.get("respond")) {
        (Some(pool), None) => pool_index(&pool, pools).map(Action::Pool),
        (None, Some(respond)) => self::respond(&respond).map(Action::Respond),
        (None, None) => {
            map.wrong("needs 'pool' or 'respond'");
            None
        }
        (Some(_), Some(respond)) => {
            respond.wrong("cannot stand beside 'pool': a route does one or the other");
            None
        }
    };
    let filters = map.get("filters").map(|v| v.filters()).unwrap_or_default();
    let priority = map.read("priority", Priority::default(), |v| {
        v.word(&[("high", Priority::High), ("normal", Priority::Normal), ("low", Priority::Low)])
    });
    let timeouts = map.get("timeouts");
    if let Some(value) = timeouts.as_ref().filter(|_| matches!(action, Some(Action::Respond(_)))) {
        value.wrong("does nothing beside 'respond', which waits for nobody");
    }
    let timeouts = timeouts.and_then(|v| route_timeouts(&v)).unwrap_or_default();
    // Behind an unknown key may be the match that sets this route apart.
    let complete = map.done();
    Some(Route {
        matches: matches.filter(|_| complete)?,
        // A wrong action still leaves a match that another route may repeat.
        action: action.unwrap_or(Action::Pool(0)),
        filters,
        priority,
        timeouts,
        at: value.at.into(),
    })
}

/// What a route asks for; `None` if it is wrong.
fn matches(value: &Value<'_>) -> Option<Match> {
    let mut map = value.map()?;
    let (host_at, exact, prefix) = (map.get("host"), map.get("path"), map.get("path_prefix"));
    map.done();
    let host = match host_at {
        Some(value) => Some(host(&value)?),
        None => None,
    };
    let path = match (exact, prefix) {
        (None, None) => None,
        (Some(value), None) => Some(PathMatch::Exact(path(&value)?.to_owned())),
        (None, Some(value)) => Some(PathMatch::Prefix(path(&value)?.trim_end_matches('/').to_owned())),
        (Some(_), Some(value)) => {
            value.wrong("cannot stand beside 'path': a match has one or the other");
            return None;
        }
    };
    Some(Match { host, path })
}

fn host(value: &Value<'_>) -> Option<HostMatch> {
    let text = value.text("a host name")?;
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

fn path<'a>(value: &Value<'a>) -> Option<&'a str> {
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

fn pool_index(value: &Value<'_>, pools: &[NamedPool]) -> Option<usize> {
    let name = value.text("the name of a pool")?;
    let index = pools.iter().position(|(pool, _)| pool == name);
    if index.is_none() && !pools.is_empty() {
        let names: Vec<&str> = pools.iter().map(|(pool, _)| pool.as_str()).collect();
        let hint = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean {}?", quoted(near)),
            None => format!("there {}", existing(&names)),
        };
        value.wrong(format!("unknown pool {}, {hint}", quoted(name)));
    }
    index
}

/// `is just 'web'`, `are 'web', 'api'`, and no more of them than a line takes.
fn existing(names: &[&str]) -> String {
    const MOST: usize = 10;
    let mut listed = names.iter().take(MOST).map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    if names.len() > MOST {
        listed.push_str(&format!(" and {} more", names.len() - MOST));
    }
    match names.len() {
        1 => format!("is just {listed}"),
        _ => format!("are {listed}"),
    }
}

fn respond(value: &Value<'_>) -> Option<Respond> {
    let mut map = value.map()?;
    let status = map.read("status", 200, |v| v.whole(200..=599_u16));
    let body = map.read("body", "", |v| {
        let text = v.scalar();
        if text.is_none() {
            v.must_be("a text");
        }
        text
    });
    map.done();
    Some(Respond { status, body: body.to_owned() })
}
