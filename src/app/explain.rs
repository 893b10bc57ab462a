//! What would become of a request: which route it takes, what it passes, who may get it, and why not somebody else.
//!
//! It is answered by what routes real requests, so that it cannot say otherwise.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::admin::{Explanation, FilterPlace, PassedOver, PoolChoice, PoolView, Question, TakenRoute};
use crate::config::{Action, Config, Extension, Match, Route, Share, does, normal_path};
use crate::filter::host_of;
use crate::route::{Asked, Router, near_miss};

/// How many routes are named that nearly took it.
const MOST: usize = 10;

/// Explain it by `config`; `pools` is what is known of the pools, if anything is.
///
/// # Errors
/// What is wrong with the question.
pub(crate) fn explain(config: &Config, pools: Option<&[PoolView]>, asked: &Question) -> Result<Explanation, String> {
    let method = Method::from_bytes(asked.method.as_bytes()).map_err(|_| "the method is none".to_owned())?;
    let headers = headers(&asked.headers)?;
    let (path, query) = match asked.path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (asked.path.as_str(), None),
    };
    let mut said = Explanation { path: path.to_owned(), ..Explanation::default() };
    if config.normalize_path {
        match normal_path(path) {
            Ok(Some(normal)) => said.path = normal,
            Ok(None) => {}
            Err(_) => {
                said.refused = Some("400: readers disagree on what this path names (normalize_path)".to_owned());
                return Ok(said);
            }
        }
    }
    let path = said.path.clone();
    let host = host_of(&asked.host);
    let asked = Asked { host, path: &path, query, method: &method, headers: &headers, client: asked.client };
    let taken = Router::new(config.routes.iter().map(|route| &route.matches)).find(&asked);
    said.passed_over = passed_over(config, &asked, taken);
    said.filters = filters(config, taken);
    if let Some(number) = taken {
        let route = &config.routes[number];
        said.pools = choices(config, route, pools);
        said.route = Some(TakenRoute {
            key: format!("routes[{number}]"),
            line: config.line(route.at),
            matches: route.matches.to_string(),
            does: does(config, route),
        });
    }
    Ok(said)
}

fn headers(given: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let name: HeaderName = name.parse().map_err(|_| format!("'{name}' is not the name of a header"))?;
        let value: HeaderValue = value.parse().map_err(|_| format!("the value of {name} cannot stand in a header"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// Those that are asked before the one that takes it, and do not.
fn passed_over(config: &Config, asked: &Asked<'_>, taken: Option<usize>) -> Vec<PassedOver> {
    let order = Match::in_order(config.routes.iter().map(|route| &route.matches));
    let before = order.into_iter().take_while(|number| Some(*number) != taken);
    let near = |number: usize| {
        let route = &config.routes[number];
        let because = near_miss(&route.matches, asked)?;
        Some(PassedOver { key: format!("routes[{number}]"), line: config.line(route.at), because })
    };
    before.filter_map(near).take(MOST).collect()
}

fn filters(config: &Config, taken: Option<usize>) -> Vec<FilterPlace> {
    let place = |before: &str, listener: Option<&str>, named: &[Extension]| -> Vec<FilterPlace> {
        let one = |(number, named): (usize, &Extension)| FilterPlace {
            name: named.name.clone(),
            key: format!("{before}filters[{number}]"),
            listener: listener.map(str::to_owned),
        };
        named.iter().enumerate().map(one).collect()
    };
    let mut found = place("", None, &config.filters);
    for (number, listener) in config.listeners.iter().enumerate() {
        let address = listener.address.to_string();
        found.extend(place(&format!("listeners[{number}]."), Some(&address), &listener.filters));
    }
    if let Some(number) = taken {
        found.extend(place(&format!("routes[{number}]."), None, &config.routes[number].filters));
    }
    found
}

fn name(config: &Config, pool: usize) -> &str {
    config.pools.get(pool).map_or("", |pool| pool.name.as_str())
}

fn choices(config: &Config, route: &Route, pools: Option<&[PoolView]>) -> Vec<PoolChoice> {
    let choice = |pool: usize, share: f64| {
        let name = name(config, pool).to_owned();
        let state = pools.and_then(|pools| pools.iter().find(|view| view.name == name)).cloned();
        PoolChoice { name, share, state }
    };
    match &route.action {
        Action::Pool(pool) => vec![choice(*pool, 1.0)],
        Action::Split(split) => {
            let total: u64 = split.shares.iter().map(|share| u64::from(share.weight)).sum();
            let part = |share: &Share| f64::from(share.weight) / total.max(1) as f64;
            split.shares.iter().map(|share| choice(share.pool, part(share))).collect()
        }
        Action::Redirect(_) | Action::Respond(_) => Vec::new(),
    }
}
