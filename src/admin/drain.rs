//! What changes something: `POST /api/v1/pools/{pool}/backends/{backend}/drain` and `…/undrain`; and one backend, to read.

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use super::api::{BackendView, backend_view};
use super::{Page, guard, json};
use crate::backend::Member;
use crate::config::nearest;
use crate::pool::Pool;
use crate::proxy::Generation;

const POOLS: &str = "/api/v1/pools/";
const BACKENDS: &str = "/backends/";
/// How many names an error lists that is near to none of them.
const MAX_LISTED: usize = 10;

/// What a drain or an undrain has done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrainAnswer {
    /// Whether it was not so already.
    pub changed: bool,
    /// What the operator may not have meant.
    #[serde(default)]
    pub warning: Option<String>,
    /// The backend after it.
    pub backend: BackendView,
}

/// Why a request to the API was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// For people.
    pub error: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Drain,
    Undrain,
}

/// A path about one backend.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pool: String,
    /// As `status` shows it.
    backend: String,
    /// What to do with it; `None` to read.
    operation: Option<Operation>,
}

impl Target {
    /// What a path is about, if it is one of those; `Err` if it cannot be read. The backend may stand in it as it is, slashes of
    /// a Unix socket included, or percent-encoded.
    pub(super) fn of(path: &str) -> Option<Result<Self, Page>> {
        let (pool, rest) = path.strip_prefix(POOLS)?.split_once(BACKENDS)?;
        let (backend, operation) = match (rest.strip_suffix("/drain"), rest.strip_suffix("/undrain")) {
            (Some(backend), _) => (backend, Some(Operation::Drain)),
            (None, Some(backend)) => (backend, Some(Operation::Undrain)),
            (None, None) => (rest, None),
        };
        let decoded = |part: &str| percent_decode_str(part).decode_utf8().ok().map(std::borrow::Cow::into_owned);
        Some(match (decoded(pool), decoded(backend)) {
            (Some(pool), Some(backend)) => Ok(Target { pool, backend, operation }),
            _ => Err(error(StatusCode::BAD_REQUEST, "the path is not UTF-8")),
        })
    }

    /// Which methods there are for it.
    pub(super) fn allows(&self) -> &'static str {
        if self.operation.is_some() { "POST" } else { "GET, HEAD" }
    }

    /// Do what is asked, or say why not. `body` is that of the request.
    pub(super) async fn answer(
        &self,
        generation: &Generation,
        method: &Method,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Page {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        let found = match self.operation {
            None if reads => self.find(generation),
            Some(_) if *method == Method::POST => permitted(headers, body).and_then(|()| self.find(generation)),
            _ => return error(StatusCode::METHOD_NOT_ALLOWED, &format!("{} only", self.allows())),
        };
        let (pool, member) = match found {
            Ok(found) => found,
            Err(page) => return page,
        };
        match self.operation {
            None => json(&view(pool, &member)),
            Some(operation) => json(&change(pool, &member, operation).await),
        }
    }

    fn find<'g>(&self, generation: &'g Generation) -> Result<(&'g Arc<Pool>, Member), Page> {
        let missing = |what: String| Err(error(StatusCode::NOT_FOUND, &what));
        let Some(pool) = generation.pools.iter().find(|pool| pool.name() == self.pool) else {
            let names: Vec<&str> = generation.pools.iter().map(|pool| pool.name()).collect();
            return missing(format!("no pool is named '{}'{}", self.pool, hint(&self.pool, &names)));
        };
        let Some(member) = pool.roster().find_known(&self.backend) else {
            let snapshot = pool.roster().load();
            let names: Vec<&str> = snapshot.members().iter().map(|member| member.state.label()).collect();
            let hint = hint(&self.backend, &names);
            return missing(format!("pool {} has no backend '{}'{hint}", self.pool, self.backend));
        };
        Ok((pool, member))
    }
}

fn permitted(headers: &HeaderMap, body: &[u8]) -> Result<(), Page> {
    if let Some((status, why)) = guard::refusal(headers) {
        return Err(error(status, why));
    }
    // A misspelt or a later option must not be passed over in silence.
    match body.trim_ascii() {
        b"" | b"{}" => Ok(()),
        _ => Err(error(StatusCode::BAD_REQUEST, "there are no options: the body must be empty or {}")),
    }
}

async fn change(pool: &Pool, member: &Member, operation: Operation) -> DrainAnswer {
    let (changed, warning) = match operation {
        Operation::Drain => {
            let changed = pool.drain(member).await;
            let nobody = || format!("no backend of pool {} is admitted any more", pool.name());
            (changed, (!pool.available()).then(nobody))
        }
        Operation::Undrain => {
            let changed = pool.undrain(member).await;
            let by_weight = member.state.drain().is_some_and(|drain| drain.weight.is_some());
            let drains_on = "its source gives it the weight 0: it drains until that gives it another";
            (changed, by_weight.then(|| drains_on.to_owned()))
        }
    };
    DrainAnswer { changed, warning, backend: view(pool, member) }
}

/// A backend as the list of pools shows it, or `absent` if it has left.
fn view(pool: &Pool, member: &Member) -> BackendView {
    let view = backend_view(pool, member);
    match pool.roster().load().find(&member.backend.addr) {
        Some(_) => view,
        None => BackendView { state: "absent".to_owned(), admitted: false, ..view },
    }
}

/// What may have been meant: the nearest name, or else some of those that there are.
fn hint(wrong: &str, names: &[&str]) -> String {
    match (nearest(wrong, names.iter().copied()), names.len()) {
        (Some(near), _) => format!(", did you mean '{near}'?"),
        (None, 0) => String::new(),
        (None, n) if n > MAX_LISTED => format!("; the first of {n}: {}", names[..MAX_LISTED].join(", ")),
        (None, _) => format!("; there are: {}", names.join(", ")),
    }
}

pub(super) fn error(status: StatusCode, message: &str) -> Page {
    let (_, kind, body) = json(&ApiError { error: message.to_owned() });
    (status, kind, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_pool_backend_and_operation() {
        let target = |path: &str| Target::of(path).map(|target| target.map_err(|(status, ..)| status.as_u16()));
        let is = |pool: &str, backend: &str, operation| {
            Some(Ok(Target { pool: pool.to_owned(), backend: backend.to_owned(), operation }))
        };
        let of = |rest: &str| target(&format!("/api/v1/pools/{rest}"));
        assert_eq!(of("api/backends/10.0.0.1:80"), is("api", "10.0.0.1:80", None));
        assert_eq!(of("api/backends/10.0.0.1%3A80/drain"), is("api", "10.0.0.1:80", Some(Operation::Drain)));
        assert_eq!(of("api/backends/%5B::1%5D:80/undrain"), is("api", "[::1]:80", Some(Operation::Undrain)));
        let unix = is("api", "unix:/run/a.sock", Some(Operation::Drain));
        assert_eq!(of("api/backends/unix:/run/a.sock/drain"), unix);
        assert_eq!(of("api/backends/unix%3A%2Frun%2Fa.sock/drain"), unix);
        assert_eq!(of("api/backends/unix:%2Frun%2Fdrain"), is("api", "unix:/run/drain", None), "a socket of that name");
        assert_eq!(of("api/backends/%ff/drain"), Some(Err(400)));
        assert_eq!((target("/api/v1/pools"), of("api"), of("api/drain")), (None, None, None));
    }

    #[test]
    fn a_hint_is_the_nearest_or_a_list() {
        assert_eq!(hint("ap", &["api", "web"]), ", did you mean 'api'?");
        assert_eq!(hint("zebra", &["api", "web"]), "; there are: api, web");
        assert_eq!(hint("zebra", &[]), "");
        let many = ["a"; 11];
        assert!(hint("zebra", &many).starts_with("; the first of 11: a, a,"));
    }
}
