use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use async_trait::async_trait;
use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_core::Result;
use pingora_proxy::Session;

use super::{Chain, Ctx, Filter, Hook};
use crate::config::KeySource;

fn session() -> Session {
    let (ours, _) = tokio::io::duplex(64);
    Session::new_h1(Box::new(ours))
}

/// Implements nothing.
struct Nothing;

impl Filter for Nothing {}

/// Implements one hook, and hands it on to another filter that does not: what a wrapper does.
struct Wrapper<F>(F, Arc<AtomicUsize>);

#[async_trait]
impl<F: Filter> Filter for Wrapper<F> {
    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        self.1.fetch_add(1, SeqCst);
        self.0.request_filter(session, ctx).await
    }
}

/// Writes its name into the response, and drops bodies.
struct Named(&'static str);

#[async_trait]
impl Filter for Named {
    async fn request_body_filter(&self, _: &mut Session, body: &mut Option<Bytes>, _: bool, _: &mut Ctx) -> Result<()> {
        *body = None;
        Ok(())
    }

    async fn response_filter(&self, _: &mut Session, response: &mut ResponseHeader, _: &mut Ctx) -> Result<()> {
        response.append_header("x-seen", self.0).map(drop)
    }
}

fn chain(filters: Vec<Arc<dyn Filter>>) -> Chain {
    Chain::new(&filters)
}

#[tokio::test]
async fn a_hook_that_nobody_implements_is_called_once() {
    let chain = chain((0..10).map(|_| Arc::new(Nothing) as Arc<dyn Filter>).collect());
    let (mut session, mut ctx) = (session(), Ctx::new());
    for hook in [Hook::EarlyRequest, Hook::Request, Hook::Logging] {
        assert!(chain.has(hook), "not known yet");
    }
    chain.early_request_filter(0, &mut session, &mut ctx).await.unwrap();
    chain.request_filter(0, &mut session, &mut ctx).await.unwrap();
    chain.logging(&mut session, None, &mut ctx).await;
    for hook in [Hook::EarlyRequest, Hook::Request, Hook::Logging] {
        assert!(!chain.has(hook), "{hook:?}");
    }
    assert!(chain.has(Hook::Response), "was never reached");
}

/// A wrapper was taken for a filter without the hook, because what it wraps has none.
#[tokio::test]
async fn a_wrapper_is_called_again_whatever_it_wraps() {
    let calls = Arc::new(AtomicUsize::new(0));
    let wrapper = |calls: &Arc<AtomicUsize>| Arc::new(Wrapper(Nothing, Arc::clone(calls)));
    let chain = chain(vec![Arc::new(Nothing), wrapper(&calls), Arc::new(Nothing)]);
    let (mut session, mut ctx) = (session(), Ctx::new());
    for _ in 0..5 {
        assert!(!chain.request_filter(0, &mut session, &mut ctx).await.unwrap());
    }
    assert_eq!(calls.load(SeqCst), 5);
    assert!(chain.has(Hook::Request));
}

#[tokio::test]
async fn responses_are_passed_in_the_opposite_order() {
    let chain = chain(vec![Arc::new(Named("first")), Arc::new(Nothing), Arc::new(Named("last"))]);
    let (mut session, mut ctx) = (session(), Ctx::new());
    for _ in 0..2 {
        let mut response = ResponseHeader::build(200, None).unwrap();
        chain.response_filter(&mut session, &mut response, &mut ctx).await.unwrap();
        let seen: Vec<_> = response.headers.get_all("x-seen").iter().collect();
        assert_eq!(seen, ["last", "first"]);
    }
}

/// To pingora, no piece means that the body is over.
#[tokio::test]
async fn a_piece_that_is_dropped_does_not_end_the_body() {
    let chain = chain(vec![Arc::new(Named("a"))]);
    let (mut session, mut ctx) = (session(), Ctx::new());
    let mut body = Some(Bytes::from_static(b"piece"));
    chain.request_body_filter(&mut session, &mut body, false, &mut ctx).await.unwrap();
    assert_eq!(body, Some(Bytes::new()));
    chain.request_body_filter(&mut session, &mut body, true, &mut ctx).await.unwrap();
    assert_eq!(body, None);
}

#[tokio::test]
async fn filters_of_a_route_are_passed_after_the_others() {
    let calls = Arc::new(AtomicUsize::new(0));
    let outer = chain(vec![Arc::new(Wrapper(Nothing, Arc::clone(&calls)))]);
    let whole = outer.longer(&[Arc::new(Wrapper(Nothing, Arc::clone(&calls)))]);
    let (mut session, mut ctx) = (session(), Ctx::new());
    whole.request_filter(outer.len(), &mut session, &mut ctx).await.unwrap();
    assert_eq!(calls.load(SeqCst), 1);
    assert_eq!(whole.len(), 2);
}

#[test]
fn a_chain_has_a_bit_for_each() {
    for count in [0, 1, 63, 64, 70] {
        let chain = chain((0..count).map(|_| Arc::new(Nothing) as Arc<dyn Filter>).collect());
        assert_eq!(chain.len(), count.min(Chain::MOST));
        assert_eq!(chain.has(Hook::Pick), count > 0);
    }
}

#[test]
fn a_filter_finds_the_part_that_the_configuration_names() {
    let mut request = RequestHeader::build("GET", b"/?user=7", None).unwrap();
    request.insert_header("cookie", "a=1; sid=s1").unwrap();
    let mut ctx = Ctx::new();
    ctx.client = "10.1.2.3".parse().ok();
    let part = |parts: &[KeySource]| ctx.part(parts, &request).map(|part| part.into_owned());
    assert_eq!(part(&[KeySource::Header("x-none".into()), KeySource::Cookie("sid".into())]).unwrap(), b"s1");
    assert_eq!(part(&[KeySource::Query("user".into())]).unwrap(), b"7");
    assert_eq!(part(&[KeySource::ClientIp]).unwrap(), [10, 1, 2, 3]);
    assert_eq!(part(&[KeySource::Query("none".into())]), None);
}
