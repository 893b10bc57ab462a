//! Pools of a configuration.

use std::net::SocketAddr;

use super::Evenkeel;

/// A `pools:` section with one pool, `web`, of these backends; `more` are its other keys, one a line.
pub fn pool(backends: &[SocketAddr], more: &str) -> String {
    let list: Vec<_> = backends.iter().map(|address| (*address, "")).collect();
    pool_of(&list, more)
}

/// The same, each backend with its other keys, like `weight: 3, zone: a`.
pub fn pool_of(backends: &[(SocketAddr, &str)], more: &str) -> String {
    let one = |(address, keys): &(SocketAddr, &str)| match *keys {
        "" => format!("\"{address}\""),
        _ => format!("{{ address: \"{address}\", {keys} }}"),
    };
    let list: Vec<String> = backends.iter().map(one).collect();
    let mut text = format!("pools:\n  web:\n    backends: [{}]\n", list.join(", "));
    // What takes backends out is on where a test is about it, and where it says so.
    for key in ["health_check", "ejection"] {
        if !more.contains(&format!("{key}:")) {
            text.push_str(&format!("    {key}: off\n"));
        }
    }
    for line in more.lines() {
        text.push_str(&format!("    {line}\n"));
    }
    text
}

/// A `pools:` section with a pool of each of these names, with this one backend.
pub fn pools(list: &[(&str, SocketAddr)]) -> String {
    let one = |(name, address): &(&str, SocketAddr)| {
        format!("  {name}:\n    backends: [\"{address}\"]\n    health_check: off\n    ejection: off\n")
    };
    list.iter().map(one).fold("pools:\n".to_owned(), |all, one| all + &one)
}

/// A process with a pool for each of these algorithms, all with the same backends and other keys. The requests below `/NAME`
/// go to the pool of the algorithm of that name.
#[track_caller]
pub fn by_algorithm(algorithms: &[&str], backends: &[SocketAddr], more: &str) -> Evenkeel {
    let (mut pools, mut routes) = (String::from("pools:\n"), String::from("routes:\n"));
    for algorithm in algorithms {
        let name = name(algorithm);
        let one = pool(backends, &format!("balance: {algorithm}\n{more}"));
        pools.push_str(&one.replace("pools:\n", "").replace("  web:", &format!("  {name}:")));
        routes.push_str(&format!("  - {{ match: {{ path_prefix: /{name} }}, pool: {name} }}\n"));
    }
    Evenkeel::start(&(pools + &routes))
}

/// The name alone of an algorithm with or without options.
pub fn name(algorithm: &str) -> &str {
    algorithm.trim_start_matches("{ ").split(':').next().unwrap()
}
