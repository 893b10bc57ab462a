//! Every hook of a filter, by programs that have one of their own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use evenkeel::app::App;
use evenkeel::filter::{Choice, Ctx, Filter};
use evenkeel::testing::{Backend, Balancer};
use http::HeaderMap;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_core::{Error, Result};
use pingora_proxy::Session;
use serde::Deserialize;

use crate::support::http2::{Call, Http2Client, Http2Origin};

type Calls = Arc<Mutex<Vec<String>>>;

/// Writes down each call of a hook, with the name that the configuration gives it.
struct Diary {
    name: String,
    calls: Calls,
}

impl Diary {
    fn note(&self, hook: &str) {
        self.calls.lock().unwrap().push(format!("{} {hook}", self.name));
    }
}

#[async_trait]
impl Filter for Diary {
    async fn early_request_filter(&self, _: &mut Session, _: &mut Ctx) -> Result<()> {
        self.note("early");
        Ok(())
    }

    async fn request_filter(&self, _: &mut Session, _: &mut Ctx) -> Result<bool> {
        self.note("request");
        Ok(false)
    }

    async fn request_body_filter(&self, _: &mut Session, _: &mut Option<Bytes>, end: bool, _: &mut Ctx) -> Result<()> {
        if end {
            self.note("body");
        }
        Ok(())
    }

    fn pick(&self, _: &Session, _: &mut Choice, ctx: &mut Ctx) {
        assert!(ctx.pool().is_some() && ctx.backend().is_none());
        self.note("pick");
    }

    async fn upstream_request_filter(&self, _: &mut Session, _: &mut RequestHeader, ctx: &mut Ctx) -> Result<()> {
        assert!(ctx.backend().is_some() && ctx.attempt().number == 1);
        self.note("upstream request");
        Ok(())
    }

    async fn upstream_response_filter(&self, _: &mut Session, _: &mut ResponseHeader, _: &mut Ctx) -> Result<()> {
        self.note("upstream response");
        Ok(())
    }

    async fn response_filter(&self, _: &mut Session, response: &mut ResponseHeader, ctx: &mut Ctx) -> Result<()> {
        assert!(ctx.reason().is_some() || ctx.attempt().first_byte.is_some());
        response.append_header("x-diary", &*self.name)?;
        self.note("response");
        Ok(())
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        _: &mut Option<Bytes>,
        end: bool,
        _: &mut Ctx,
    ) -> Result<Option<Duration>> {
        if end {
            self.note("response body");
        }
        Ok(None)
    }

    async fn response_trailer_filter(
        &self,
        _: &mut Session,
        trailers: &mut HeaderMap,
        _: &mut Ctx,
    ) -> Result<Option<Bytes>> {
        trailers.append("x-diary", self.name.parse().unwrap());
        self.note("trailer");
        Ok(None)
    }

    async fn logging(&self, _: &mut Session, _: Option<&Error>, _: &mut Ctx) {
        self.note("logging");
    }
}

fn with_diary(calls: &Calls) -> impl FnOnce(App) -> App {
    let calls = Arc::clone(calls);
    |app| {
        app.filter("diary", move |options| {
            #[derive(Deserialize)]
            struct Named {
                name: String,
            }
            options.parse().map(|Named { name }| Diary { name, calls: Arc::clone(&calls) })
        })
    }
}

/// A filter of the whole, one of the listener, and two of the route.
fn chain(backend: impl std::fmt::Display, more: &str) -> String {
    let diary = |name: &str| format!("{{ diary: {{ name: {name} }} }}");
    format!(
        "listeners: [{{ address: '127.0.0.1:0', h2c: true, filters: [{}] }}]\nfilters: [{}]\n\
         pools: {{ web: {{ backends: ['{backend}']{more} }} }}\n\
         routes: [{{ match: {{ path_prefix: /in }}, pool: web, filters: [{}, {}] }}]\n",
        diary("listener"),
        diary("whole"),
        diary("first"),
        diary("last")
    )
}

const INWARDS: [&str; 4] = ["whole", "listener", "first", "last"];
const OUTWARDS: [&str; 4] = ["last", "first", "listener", "whole"];

fn calls(order: [&str; 4], hook: &str) -> Vec<String> {
    order.iter().map(|name| format!("{name} {hook}")).collect()
}

#[test]
fn every_hook_is_called_in_order_and_back() {
    let (written, backend) = (Calls::default(), Backend::saying("hello"));
    let balancer = Balancer::start(&chain(&backend, ""), with_diary(&written));
    for _ in 0..3 {
        let answer = balancer.post("/in").body("in").send();
        assert_eq!((&*answer.text(), answer.headers("x-diary")), ("hello", OUTWARDS.to_vec()));
        balancer.wait_until("it is over", |_| written.lock().unwrap().iter().any(|call| call == "whole logging"));
        let expected = [
            // Those that need not know the route come before it is known.
            vec!["whole early".to_owned(), "listener early".into(), "whole request".into(), "listener request".into()],
            vec!["first early".into(), "last early".into(), "first request".into(), "last request".into()],
            calls(INWARDS, "pick"),
            calls(INWARDS, "upstream request"),
            calls(INWARDS, "body"),
            calls(OUTWARDS, "upstream response"),
            calls(OUTWARDS, "response"),
            calls(OUTWARDS, "response body"),
            calls(OUTWARDS, "logging"),
        ];
        assert_eq!(std::mem::take(&mut *written.lock().unwrap()), expected.concat());
    }
}

#[test]
fn what_has_no_route_passes_the_outer_filters_and_so_does_the_refusal() {
    let (written, backend) = (Calls::default(), Backend::saying("hello"));
    let balancer = Balancer::start(&chain(&backend, ""), with_diary(&written));
    let answer = balancer.get("/elsewhere").send();
    assert_eq!((answer.status(), answer.headers("x-diary")), (404, vec!["listener", "whole"]));
    assert_eq!(backend.requests().len(), 0);
}

#[test]
fn trailers_pass_outwards() {
    let origin = Http2Origin::new(|mut call: Call| async move {
        call.read().await;
        call.say("hello", &[("x-end", "1")]);
    });
    let written = Calls::default();
    let balancer = Balancer::start(&chain(origin.address, ", protocol: h2"), with_diary(&written));
    let answer = Http2Client::connect(balancer.address()).get("/in");
    assert_eq!((answer.body.as_str(), answer.trailer("x-end")), ("hello", "1"));
    let names: Vec<_> = answer.trailers.get_all("x-diary").iter().map(|name| name.to_str().unwrap()).collect();
    assert_eq!(names, OUTWARDS);
}

/// Prefers the backend that `X-Prefer` names, avoids that of `X-Avoid`, and hashes by `X-Key`.
struct Wishes;

impl Filter for Wishes {
    fn pick(&self, session: &Session, choice: &mut Choice, ctx: &mut Ctx) {
        let wish = |name: &str| session.req_header().headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(key) = wish("x-key") {
            choice.hash_by(key);
        }
        let Some(pool) = ctx.pool() else { return };
        for member in pool.roster().load().members() {
            if wish("x-prefer") == Some(member.state.label()) {
                choice.prefer(&member.state);
            }
            if wish("x-avoid").is_some_and(|avoided| avoided.contains(member.state.label())) {
                choice.avoid(&member.state);
            }
        }
    }
}

fn wishing(addresses: &[SocketAddr], more: &str) -> Balancer {
    let backends: Vec<_> = addresses.iter().map(|address| format!("'{address}'")).collect();
    let yaml = format!("filters: [wishes]\npools: {{ web: {{ backends: [{}]{more} }} }}\n", backends.join(", "));
    Balancer::start(&yaml, |app| app.filter("wishes", |options| options.none().map(|()| Wishes)))
}

/// Who has answered so many requests with this header.
fn who(balancer: &Balancer, header: &str, value: &str) -> Vec<String> {
    let mut names: Vec<_> =
        (0..12).map(|_| balancer.get("/").header(header, value).send().text().into_owned()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[test]
fn a_filter_has_a_say_in_the_choice() {
    let backends = ["a", "b", "c"].map(Backend::saying);
    let [a, b, c] = backends.each_ref().map(Backend::address);
    let balancer = wishing(&[a, b, c], "");
    assert_eq!(who(&balancer, "x-none", ""), ["a", "b", "c"]);
    assert_eq!(who(&balancer, "x-prefer", &b.to_string()), ["b"]);
    assert_eq!(who(&balancer, "x-avoid", &b.to_string()), ["a", "c"]);
    assert_eq!(who(&balancer, "x-avoid", &format!("{a} {c}")), ["b"]);
    assert_eq!(who(&balancer, "x-avoid", &format!("{a} {b} {c}")), ["a", "b", "c"], "only if there is another");
    assert_eq!(who(&balancer, "x-prefer", "127.0.0.1:1"), ["a", "b", "c"], "whoever is none of the pool");
}

#[test]
fn a_wish_does_not_go_before_health_or_another_attempt() {
    let mut gone = Backend::saying("gone");
    let sound = Backend::saying("sound");
    let address = gone.address().to_string();
    let balancer = wishing(&[gone.address(), sound.address()], ", health_check: off, retry: { budget: 100% }");
    assert_eq!(who(&balancer, "x-prefer", &address), ["gone"]);
    gone.stop();
    assert_eq!(who(&balancer, "x-prefer", &address), ["sound"], "it has failed the request");
}

#[test]
fn a_filter_may_say_what_is_hashed() {
    let backends = ["a", "b", "c"].map(Backend::saying);
    let addresses = backends.each_ref().map(Backend::address);
    let balancer = wishing(&addresses, ", balance: { consistent_hash: { key: path } }");
    let by_key: Vec<_> = (0..20).map(|key| who(&balancer, "x-key", &key.to_string())).collect();
    assert!(by_key.iter().all(|names| names.len() == 1), "{by_key:?}");
    assert!((0..3).all(|n| by_key.iter().any(|names| names[0] == ["a", "b", "c"][n])), "{by_key:?}");
}
