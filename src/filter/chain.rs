//! The filters that a request passes, and which of their hooks are worth a call.

use std::any::TypeId;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_core::{Error, Result};
use pingora_proxy::Session;

use super::{Choice, Ctx, Filter, Hook};

/// The filters of a request, in the order in which it passes them.
pub struct Chain {
    links: Vec<Link>,
    /// For each hook, the filters that implement it, as far as is known: a bit for each.
    implemented: [AtomicU64; Hook::COUNT],
}

struct Link {
    filter: Arc<dyn Filter>,
    kind: TypeId,
}

impl Chain {
    /// As many as there are bits.
    pub(crate) const MOST: usize = 64;

    /// A chain of these filters; those beyond [`Chain::MOST`], which nobody has let through, are left out.
    pub(crate) fn new<'a>(filters: impl IntoIterator<Item = &'a Arc<dyn Filter>>) -> Self {
        let link = |filter: &Arc<dyn Filter>| Link { filter: Arc::clone(filter), kind: filter.kind() };
        let links: Vec<Link> = filters.into_iter().take(Self::MOST).map(link).collect();
        let all = u64::MAX.checked_shr(u64::BITS.saturating_sub(links.len() as u32)).unwrap_or(0);
        Chain { links, implemented: std::array::from_fn(|_| AtomicU64::new(all)) }
    }

    /// The same, and these after it.
    pub(super) fn longer(&self, filters: &[Arc<dyn Filter>]) -> Self {
        Chain::new(self.links.iter().map(|link| &link.filter).chain(filters))
    }

    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Whether a filter may implement this hook.
    #[inline]
    pub(super) fn has(&self, hook: Hook) -> bool {
        self.bits(hook) != 0
    }

    #[inline]
    fn bits(&self, hook: Hook) -> u64 {
        self.implemented[hook as usize].load(Relaxed)
    }

    fn links(&self, hook: Hook) -> impl DoubleEndedIterator<Item = (usize, &Link)> {
        let bits = self.bits(hook);
        self.links.iter().enumerate().filter(move |(number, _)| bits & (1 << number) != 0)
    }

    /// Note it if the call that has just returned was one of a default method, so that it was the last.
    #[inline]
    fn learn(&self, (number, link): (usize, &Link), hook: Hook, ctx: &mut Ctx) {
        // Its own, not that of another filter which it has called: that one's default says nothing about it.
        if ctx.take_not_implemented() == Some((hook, link.kind)) {
            self.implemented[hook as usize].fetch_and(!(1 << number), Relaxed);
        }
    }

    pub(crate) async fn early_request_filter(&self, from: usize, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
        for link in self.links(Hook::EarlyRequest).filter(|(number, _)| *number >= from) {
            link.1.filter.early_request_filter(session, ctx).await?;
            self.learn(link, Hook::EarlyRequest, ctx);
        }
        Ok(())
    }

    /// `true` if the client has its answer.
    pub(crate) async fn request_filter(&self, from: usize, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        for link in self.links(Hook::Request).filter(|(number, _)| *number >= from) {
            if link.1.filter.request_filter(session, ctx).await? {
                return Ok(true);
            }
            self.learn(link, Hook::Request, ctx);
        }
        Ok(false)
    }

    pub(crate) async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        for link in self.links(Hook::RequestBody) {
            link.1.filter.request_body_filter(session, body, end_of_stream, ctx).await?;
            self.learn(link, Hook::RequestBody, ctx);
            if body.is_none() && !end_of_stream {
                // To pingora, `None` is the end.
                *body = Some(Bytes::new());
            }
        }
        Ok(())
    }

    pub(crate) fn pick(&self, session: &Session, choice: &mut Choice, ctx: &mut Ctx) {
        for link in self.links(Hook::Pick) {
            link.1.filter.pick(session, choice, ctx);
            self.learn(link, Hook::Pick, ctx);
        }
    }

    pub(crate) async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream_request: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        for link in self.links(Hook::UpstreamRequest) {
            link.1.filter.upstream_request_filter(session, upstream_request, ctx).await?;
            self.learn(link, Hook::UpstreamRequest, ctx);
        }
        Ok(())
    }

    pub(crate) async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        for link in self.links(Hook::UpstreamResponse).rev() {
            link.1.filter.upstream_response_filter(session, response, ctx).await?;
            self.learn(link, Hook::UpstreamResponse, ctx);
        }
        Ok(())
    }

    pub(crate) async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        for link in self.links(Hook::Response).rev() {
            link.1.filter.response_filter(session, response, ctx).await?;
            self.learn(link, Hook::Response, ctx);
        }
        Ok(())
    }

    /// How long sending it is put off: the longest that a filter asks for.
    pub(crate) fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Ctx,
    ) -> Result<Option<Duration>> {
        let mut pause = None;
        for link in self.links(Hook::ResponseBody).rev() {
            pause = pause.max(link.1.filter.response_body_filter(session, body, end_of_stream, ctx)?);
            self.learn(link, Hook::ResponseBody, ctx);
        }
        Ok(pause)
    }

    pub(crate) async fn response_trailer_filter(
        &self,
        session: &mut Session,
        trailers: &mut HeaderMap,
        ctx: &mut Ctx,
    ) -> Result<Option<Bytes>> {
        let mut first = None;
        for link in self.links(Hook::ResponseTrailer).rev() {
            let bytes = link.1.filter.response_trailer_filter(session, trailers, ctx).await?;
            self.learn(link, Hook::ResponseTrailer, ctx);
            first = first.or(bytes);
        }
        Ok(first)
    }

    pub(crate) async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Ctx) {
        for link in self.links(Hook::Logging).rev() {
            link.1.filter.logging(session, error, ctx).await;
            self.learn(link, Hook::Logging, ctx);
        }
    }
}
