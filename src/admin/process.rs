//! What is asked of the whole process: `POST /api/v1/reload`, `…/plan`, `…/explain` and `…/upgrade`.

use std::path::PathBuf;

use http::{HeaderMap, Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::drain::error;
use super::{Candidate, Order, Orders, Page, Question, Refusal, Successor, guard, json};

/// A configuration of tens of thousands of routes, and an end to whatever is longer.
const MAX_PLAN: usize = 64 << 20;
/// A request with all headers that it may have.
const MAX_QUESTION: usize = 1 << 20;
/// Of everything else.
const MAX_BODY: usize = 4096;

/// What `POST /api/v1/reload` may be told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReloadRequest {
    /// Which file is meant. The process refuses to load any but the one that it runs.
    #[serde(default)]
    pub file: Option<PathBuf>,
}

/// A path about the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Reload,
    Plan,
    Explain,
    Upgrade,
}

impl Target {
    pub(super) fn of(path: &str) -> Option<Self> {
        match path {
            "/api/v1/reload" => Some(Target::Reload),
            "/api/v1/plan" => Some(Target::Plan),
            "/api/v1/explain" => Some(Target::Explain),
            "/api/v1/upgrade" => Some(Target::Upgrade),
            _ => None,
        }
    }

    /// More is not read of a body.
    pub(super) fn max_body(self) -> usize {
        match self {
            Target::Plan => MAX_PLAN,
            // The headers of a request.
            Target::Explain => MAX_QUESTION,
            Target::Reload | Target::Upgrade => MAX_BODY,
        }
    }

    /// Do what is asked, or say why not.
    pub(super) async fn answer(self, orders: &Orders, method: &Method, headers: &HeaderMap, body: &[u8]) -> Page {
        if *method != Method::POST {
            return error(StatusCode::METHOD_NOT_ALLOWED, "POST only");
        }
        if let Some((status, why)) = guard::refusal(headers) {
            return error(status, why);
        }
        match self {
            Target::Reload => match read::<ReloadRequest>(body) {
                Ok(request) => page(orders.place(|reply| Order::Reload(request.file, reply)).await),
                Err(page) => page,
            },
            Target::Plan => match read::<Candidate>(body) {
                Ok(candidate) => page(orders.place(|reply| Order::Plan(candidate, reply)).await),
                Err(page) => page,
            },
            Target::Explain => match read::<Question>(body) {
                Ok(question) => page(orders.place(|reply| Order::Explain(question, reply)).await),
                Err(page) => page,
            },
            Target::Upgrade => match body.trim_ascii() {
                b"" | b"{}" => page(orders.place(|reply| Order::Upgrade(Successor::Start, reply)).await),
                _ => error(StatusCode::BAD_REQUEST, "there are no options: the body must be empty or {}"),
            },
        }
    }
}

/// What a body says; an empty one says nothing.
fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Page> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|e| error(StatusCode::BAD_REQUEST, &format!("the body cannot be read: {e}")))
}

fn page<T: Serialize>(done: Result<T, Refusal>) -> Page {
    match done {
        Ok(done) => json(&done),
        Err(refusal) => {
            let status = match refusal {
                Refusal::Config(_) => StatusCode::UNPROCESSABLE_ENTITY,
                Refusal::Wrong(_) => StatusCode::BAD_REQUEST,
                Refusal::NeedsUpgrade(_) => StatusCode::CONFLICT,
                Refusal::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            error(status, &refusal.to_string())
        }
    }
}
