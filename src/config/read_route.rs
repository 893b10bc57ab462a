//! `routes`: which request goes where.

use std::collections::HashMap;

use super::map::Map;
use super::read_action::{action, mirror, rewrite};
use super::read_match::matches;
use super::read_pool::NamedPool;
use super::read_timeouts::route_timeouts;
use super::reader::{Value, line};
use super::shadow::shadowed;
use super::text::short;
use super::{Action, Match, Position, Priority, Rewrite, Route, RouteTimeouts};

/// Read `routes`. Without any, everything goes to the pool, if there is just one.
pub(super) fn routes(top: &mut Map<'_>, pools: &[NamedPool], normalize: bool) -> Vec<Route> {
    let Some(value) = top.get("routes") else {
        return default_route(top, pools);
    };
    let mut found = Vec::new();
    let mut seen: HashMap<Match, (usize, Position)> = HashMap::new();
    for (i, item) in value.list("routes").unwrap_or_default().into_iter().enumerate() {
        let Some(route) = route(&item, pools, normalize) else {
            continue;
        };
        match seen.get(&route.matches) {
            Some((first, at)) => item.wrong(format!("has the same match as routes[{first}]{}", line(*at))),
            None => {
                seen.insert(route.matches.clone(), (i, item.at));
            }
        }
        found.push((i, item, route));
    }
    unreachable(&found, seen.len());
    found.into_iter().map(|(_, _, route)| route).collect()
}

/// Report routes that no request ever takes; that two have the same match is said already.
fn unreachable(found: &[(usize, Value<'_>, Route)], different: usize) {
    if different < found.len() {
        return;
    }
    let matches: Vec<_> = found.iter().map(|(_, _, route)| &route.matches).collect();
    for (place, by) in shadowed(&matches) {
        let ((_, item, _), (first, other, _)) = (&found[place], &found[by]);
        item.wrong(format!("never matches: routes[{first}]{} is asked before and takes all of it", other.line()));
    }
}

fn default_route(top: &mut Map<'_>, pools: &[NamedPool]) -> Vec<Route> {
    match pools {
        [] => Vec::new(),
        [(_, pool)] => vec![Route {
            matches: Match::default(),
            action: Action::Pool(0),
            rewrite: Rewrite::default(),
            mirror: None,
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

fn route(value: &Value<'_>, pools: &[NamedPool], normalize: bool) -> Option<Route> {
    let mut map = value.map()?;
    let matches = map.get("match").map_or(Some(Match::default()), |v| matches(&v, normalize));
    let path = matches.as_ref().and_then(|matches| matches.path.as_ref());
    let action = action(&mut map, pools, path);
    let answers = matches!(action, Some(Action::Respond(_) | Action::Redirect(_)));
    let (rewrite_at, mirror_at, timeouts) = (map.get("rewrite"), map.get("mirror"), map.get("timeouts"));
    for value in [&rewrite_at, &mirror_at, &timeouts].into_iter().flatten().filter(|_| answers) {
        value.wrong("does nothing in a route that answers itself, and asks no pool");
    }
    let rewrite = rewrite_at.and_then(|v| rewrite(&v, path)).unwrap_or_default();
    let mirror = mirror_at.and_then(|v| mirror(&v, pools));
    let filters = map.get("filters").map(|v| v.filters()).unwrap_or_default();
    let priority = map.read("priority", Priority::default(), |v| {
        v.word(&[("high", Priority::High), ("normal", Priority::Normal), ("low", Priority::Low)])
    });
    let timeouts = timeouts.and_then(|v| route_timeouts(&v)).unwrap_or_default();
    // Behind an unknown key may be the match that sets this route apart.
    let complete = map.done();
    Some(Route {
        matches: matches.filter(|_| complete)?,
        // A wrong action still leaves a match that another route may repeat.
        action: action.unwrap_or(Action::Pool(0)),
        rewrite,
        mirror,
        filters,
        priority,
        timeouts,
        at: value.at.into(),
    })
}
