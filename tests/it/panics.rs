//! A hook that panics ends its own request, and nothing else.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use evenkeel::filter::{Choice, Ctx, Filter};
use evenkeel::testing::{Backend, Balancer};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_core::{Error, Result};
use pingora_proxy::Session;

use crate::support::http2::Http2Client;

/// Panics in the hook that the request's `X-Panic` names.
struct Panics;

fn at(session: &Session, hook: &str) {
    let asked = session.req_header().headers.get("x-panic");
    assert!(asked.is_none_or(|asked| asked.as_bytes() != hook.as_bytes()), "as it was asked to, in {hook}");
}

#[async_trait]
impl Filter for Panics {
    async fn early_request_filter(&self, session: &mut Session, _: &mut Ctx) -> Result<()> {
        at(session, "early");
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, _: &mut Ctx) -> Result<bool> {
        at(session, "request");
        Ok(false)
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        _: &mut Option<Bytes>,
        _: bool,
        _: &mut Ctx,
    ) -> Result<()> {
        at(session, "body");
        Ok(())
    }

    fn pick(&self, session: &Session, _: &mut Choice, _: &mut Ctx) {
        at(session, "pick");
    }

    async fn upstream_request_filter(&self, session: &mut Session, _: &mut RequestHeader, _: &mut Ctx) -> Result<()> {
        at(session, "upstream request");
        Ok(())
    }

    async fn upstream_response_filter(&self, session: &mut Session, _: &mut ResponseHeader, _: &mut Ctx) -> Result<()> {
        at(session, "upstream response");
        Ok(())
    }

    async fn response_filter(&self, session: &mut Session, _: &mut ResponseHeader, _: &mut Ctx) -> Result<()> {
        at(session, "response");
        Ok(())
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        _: &mut Option<Bytes>,
        _: bool,
        _: &mut Ctx,
    ) -> Result<Option<Duration>> {
        at(session, "response body");
        Ok(None)
    }

    async fn logging(&self, session: &mut Session, _: Option<&Error>, _: &mut Ctx) {
        at(session, "logging");
    }
}

const HOOKS: [&str; 9] = [
    "early",
    "request",
    "pick",
    "upstream request",
    "body",
    "upstream response",
    "response",
    "response body",
    "logging",
];

fn no_other_request_is_hurt(more: &str) {
    let backend = Backend::saying("hello");
    let yaml = format!(
        "listeners: [{{ address: '127.0.0.1:0', h2c: true }}]\nfilters: [panics]\n\
         pools: {{ web: {{ backends: [{backend}]{more} }} }}\n"
    );
    let balancer = Balancer::start(&yaml, |app| app.filter("panics", |options| options.none().map(|()| Panics)));
    let http2 = Http2Client::connect(balancer.address());
    for hook in HOOKS {
        for _ in 0..3 {
            let answer = balancer.post("/").header("x-panic", hook).body("in").try_send();
            assert!(hook == "logging" || !answer.is_ok_and(|answer| answer.is_whole()), "{hook}");
            let request = |named| http2.request("POST", "/", &[("x-panic", named)]);
            let answers = http2.all(vec![request("none"), request(hook), request("none")], "in");
            let bodies: Vec<_> = answers.iter().map(|one| one.as_ref().ok().map(|one| &*one.body)).collect();
            assert_eq!([bodies[0], bodies[2]], [Some("hello"); 2], "{hook}");
            assert!(hook == "logging" || bodies[1] != Some("hello"), "{hook}");
        }
    }
    balancer.wait_until("nothing is under way", |balancer| balancer.pool("web").backends[0].in_flight == 0);
    assert_eq!(balancer.get("/").send().text(), "hello");
}

#[test]
fn a_hook_that_panics_ends_its_request_alone() {
    no_other_request_is_hurt("");
    no_other_request_is_hurt(", hedge: { after: 10s }");
    no_other_request_is_hurt(", max_in_flight: 1, queue: { size: 10 }");
}
