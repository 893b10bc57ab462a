//! A test kit for what you add to the balancer: it runs in the test's own process, on a port that the system chooses, between
//! a client and backends that do what the test tells them to.
//!
//! ```
//! # use async_trait::async_trait;
//! # use evenkeel::filter::{Ctx, Filter};
//! # use pingora::prelude::{Error, HTTPStatus, Result};
//! # use pingora_proxy::Session;
//! # struct NeedsKey;
//! # #[async_trait]
//! # impl Filter for NeedsKey {
//! #     async fn request_filter(&self, session: &mut Session, _: &mut Ctx) -> Result<bool> {
//! #         match session.req_header().headers.contains_key("x-key") {
//! #             true => Ok(false),
//! #             false => Error::e_explain(HTTPStatus(401), "no key"),
//! #         }
//! #     }
//! # }
//! use evenkeel::testing::{Backend, Balancer};
//!
//! let backend = Backend::saying("hello");
//! let pools = format!("pools: {{ web: {{ backends: [{backend}] }} }}");
//! let yaml = format!("{pools}\nroutes: [{{ pool: web, filters: [needs_key] }}]");
//! let balancer = Balancer::start(&yaml, |app| app.filter("needs_key", |_| Ok(NeedsKey)));
//!
//! assert_eq!(balancer.get("/").send().status(), 401);
//! assert_eq!(balancer.get("/").header("x-key", "1").send().text(), "hello");
//! assert_eq!(backend.requests().len(), 1);
//! ```
//!
//! Everything here blocks, needs no runtime, and can be used beside a runtime, as in a `#[tokio::test]`. There may be several
//! balancers in one process at once. What goes wrong in the kit itself panics, with a message for who reads the test's output.

mod answer;
mod backend;
mod balancer;
mod request;
mod response;
mod samples;
mod wire;

use std::time::{Duration, Instant};

pub use answer::Answer;
pub use backend::{Backend, Received};
pub use balancer::Balancer;
pub use request::Request;
pub use response::Response;

/// How long anything may take that is waited for.
const LIMIT: Duration = Duration::from_secs(20);
/// How often a condition is looked at that nobody tells of.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Wait until it is so, up to 20 s; whether it was.
fn wait(so: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while !so() {
        if began.elapsed() > LIMIT {
            return false;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    true
}
