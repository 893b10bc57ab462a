//! What would become of a request: `POST /api/v1/explain` and `evenkeel explain`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::PoolView;

/// A request that nobody has sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Its method. Default GET.
    #[serde(default = "get")]
    pub method: String,
    /// The host that it asks for, with a port or without. Default none.
    #[serde(default)]
    pub host: String,
    /// Its path, with a query or without. Default `/`.
    #[serde(default = "slash")]
    pub path: String,
    /// Its headers, by name and value.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Who asks. Default nobody that is known.
    #[serde(default)]
    pub client: Option<IpAddr>,
}

fn get() -> String {
    "GET".to_owned()
}

fn slash() -> String {
    "/".to_owned()
}

/// What would become of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The path as it is routed, without the query.
    pub path: String,
    /// Why it is refused before any route is asked.
    pub refused: Option<String>,
    /// The route that it takes; without one it gets a 404.
    pub route: Option<TakenRoute>,
    /// Routes for its host and path that do not take it.
    pub passed_over: Vec<PassedOver>,
    /// What it passes on its way, in order.
    pub filters: Vec<FilterPlace>,
    /// Who may get it.
    pub pools: Vec<PoolChoice>,
}

/// A route that takes a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenRoute {
    /// Its key, like `routes[2]`.
    pub key: String,
    /// Where it stands in the file; 0 if there is none.
    pub line: usize,
    /// What it asks, in one line.
    pub matches: String,
    /// What it does, in one line.
    pub does: String,
}

/// A route that does not take a request, although it is for its host and path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedOver {
    /// Its key, like `routes[2]`.
    pub key: String,
    /// Where it stands in the file; 0 if there is none.
    pub line: usize,
    /// What does not hold, like `headers.x-canary`.
    pub because: String,
}

/// A filter on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterPlace {
    /// Its name.
    pub name: String,
    /// Its key, like `routes[2].filters[0]`.
    pub key: String,
    /// The listener that a request must come to, for a filter of one.
    pub listener: Option<String>,
}

/// A pool that may get a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolChoice {
    /// Its name.
    pub name: String,
    /// Of how many such requests, 0 to 1.
    pub share: f64,
    /// Its backends; `None` if no process was asked.
    pub state: Option<PoolView>,
}
