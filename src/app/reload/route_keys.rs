//! The keys of a route, of which none is forgotten.

use super::difference::Side;
use crate::config::{Action, Mirror, Route, Share, Split};

/// The keys by which two routes of one match differ.
pub(super) fn route_keys((old, before): (&Side<'_>, usize), (new, after): (&Side<'_>, usize)) -> Vec<&'static str> {
    let same_filters = old.filters.routes[before] == new.filters.routes[after];
    let ((old, before), (new, after)) = ((old.config, before), (new.config, after));
    let before = &old.routes[before];
    // Without `..`: whoever adds a key is reminded to list it.
    let Route { matches: _, action, rewrite, mirror, filters: _, priority, timeouts, at: _ } = &new.routes[after];
    // The same pool by its name: its number may be another.
    let number = |pool: usize| {
        let name = old.pools.get(pool).map(|pool| pool.name.as_str());
        new.pools.iter().position(|pool| Some(pool.name.as_str()) == name).unwrap_or(usize::MAX)
    };
    let was = before.mirror.map(|mirror| Mirror { pool: number(mirror.pool), ..mirror });
    let differs = [
        (action_key(action), renumbered(&before.action, number) != *action),
        ("rewrite", before.rewrite != *rewrite),
        ("mirror", was != *mirror),
        ("filters", !same_filters),
        ("priority", before.priority != *priority),
        ("timeouts", before.timeouts != *timeouts),
    ];
    differs.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
}

fn action_key(action: &Action) -> &'static str {
    match action {
        Action::Pool(_) => "pool",
        Action::Split(_) => "split",
        Action::Redirect(_) => "redirect",
        Action::Respond(_) => "respond",
    }
}

fn renumbered(action: &Action, number: impl Fn(usize) -> usize) -> Action {
    match action {
        Action::Pool(pool) => Action::Pool(number(*pool)),
        Action::Split(Split { by, shares }) => {
            let shares = shares.iter().map(|share| Share { pool: number(share.pool), ..*share }).collect();
            Action::Split(Split { by: by.clone(), shares })
        }
        Action::Redirect(_) | Action::Respond(_) => action.clone(),
    }
}
