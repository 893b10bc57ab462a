//! Filters: what is done with a request on its way, by names in the configuration.
//!
//! A filter implements those hooks of [`Filter`] that it needs, is registered under a name with
//! [`App::filter`](crate::app::App::filter), and stands by that name in `filters` of the whole file, of a listener or of a route.
//! The built-in ones are written against the same trait, and registered the same way.
//!
//! # Order
//! The filters of the whole come first, then those of the listener, then those of the route, each in the order of its list. A
//! request passes them in this order, and its response in the opposite one: the first filter has the first look at what comes
//! from the client, and the last word on what goes to it. `logging` is called in the order of the response.
//!
//! A filter that ends a request in `request_filter`, by an [`Answer`] or by an error, keeps it from the filters after it. Their
//! response hooks see the answer all the same, as those of the filters before it do: whatever adds a header to all responses
//! adds it to refusals, too.
//!
//! # What a hook costs
//! Whether a filter implements a hook is learnt from its first call: the default methods note that they were reached, and are
//! not called again. So a filter costs something on the hooks that it implements, and a chain of filters that implement none of
//! it one load and a comparison.

mod answer;
mod built_in;
mod call;
mod chain;
mod chains;
mod choice;
mod client;
mod ctx;
mod hook;
mod host;
pub(crate) mod key;
mod last_look;
mod request_id;
#[cfg(feature = "script")]
mod script;

use std::any::TypeId;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session;

pub use answer::Answer;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use built_in::fuzz;
pub(crate) use built_in::{ALL as BUILT_IN, BuiltIn};
pub(crate) use call::{INTERNAL, UNAVAILABLE, begins, is_call, kind, status_of};
pub use chain::Chain;
pub use chains::Chains;
pub use choice::Choice;
pub use ctx::{Attempt, Ctx, FailedAttempt};
pub(crate) use hook::Hook;
pub(crate) use host::{authority, host_of};
pub(crate) use last_look::last_look;
pub use request_id::RequestId;

/// What [`Answer::refusal`] takes.
pub use crate::reason::Reason;

/// A filter has failed, and has said so in the log.
pub(crate) const FILTER_FAILED: ErrorType = ErrorType::Custom("FilterFailed");

/// Hooks on the way of a request: the names, the order and the meaning of `ProxyHttp`'s own, every one of them optional.
///
/// One filter serves all requests that pass it, at the same time; what it knows of one of them it keeps in
/// [`Ctx::extensions`]. See the [module](self) for the order in which several are passed.
///
/// # Errors
/// See the [page about filters](crate::book::extending::filter) for what each hook may do, and what an error of each does.
///
/// An error from a hook ends the request. One made with `Error::explain(HTTPStatus(403), "…")` ends it with that status, and a
/// reason of its own (`unauthorized`, `forbidden`, `rate_limited`) or `refused`; any other is the filter's fault, and answered
/// with 500. To refuse in other words, or with headers, send an [`Answer`] from `request_filter`.
///
/// # Panics
/// A hook that panics ends its connection, and no other.
#[async_trait]
pub trait Filter: Send + Sync + 'static {
    /// The header has come in, and nothing has looked at it but to see who the client is: no route is known. For filters of a
    /// route it is called when the route is found, ahead of their `request_filter`s.
    async fn early_request_filter(&self, _session: &mut Session, ctx: &mut Ctx) -> Result<()> {
        ctx.not_implemented::<Self>(Hook::EarlyRequest);
        Ok(())
    }

    /// Let the request in, change it (`session.req_header_mut()`), or answer it. `Ok(true)` says that it has its answer, see
    /// [`Answer::send`]. What filters of the whole and of a listener change, the route is found by.
    async fn request_filter(&self, _session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        ctx.not_implemented::<Self>(Hook::Request);
        Ok(false)
    }

    /// A piece of the request's body is on its way to the backend; the last has `end_of_stream`, and may be `None`. `None` in
    /// place of any other means that nothing of it is passed on. What comes through a tunnel, as of a WebSocket, passes it, too.
    /// Called for all pieces again if a further attempt is given them: [`Attempt::number`] tells.
    async fn request_body_filter(
        &self,
        _session: &mut Session,
        _body: &mut Option<Bytes>,
        _end_of_stream: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        ctx.not_implemented::<Self>(Hook::RequestBody);
        Ok(())
    }

    /// A backend is about to be chosen: for each attempt, and for the second one of a hedged request. It does not wait: what must
    /// be asked elsewhere is asked in `request_filter`.
    fn pick(&self, _session: &Session, _choice: &mut Choice, ctx: &mut Ctx) {
        ctx.not_implemented::<Self>(Hook::Pick);
    }

    /// The header is about to be sent to a backend; once for each attempt.
    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        _upstream_request: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        ctx.not_implemented::<Self>(Hook::UpstreamRequest);
        Ok(())
    }

    /// The header of a backend's response has come; once for each attempt that gets so far. A status that is changed here is what
    /// retries, ejection and metrics judge by.
    async fn upstream_response_filter(
        &self,
        _session: &mut Session,
        _upstream_response: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        ctx.not_implemented::<Self>(Hook::UpstreamResponse);
        Ok(())
    }

    /// The response's header is about to be sent to the client, a backend's or an [`Answer`] of ours. Not called for interim
    /// responses but 101.
    async fn response_filter(
        &self,
        _session: &mut Session,
        _response: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        ctx.not_implemented::<Self>(Hook::Response);
        Ok(())
    }

    /// A piece of the response's body is about to be sent; the last has `end_of_stream`, and may be `None`. A duration is how
    /// long sending it is put off. Whoever changes the length of a body removes `Content-Length` in `response_filter`.
    fn response_body_filter(
        &self,
        _session: &mut Session,
        _body: &mut Option<Bytes>,
        _end_of_stream: bool,
        ctx: &mut Ctx,
    ) -> Result<Option<Duration>> {
        ctx.not_implemented::<Self>(Hook::ResponseBody);
        Ok(None)
    }

    /// Trailers are about to be sent: over HTTP/2 from a backend that is asked in HTTP/2. Bytes are sent as the end of the body in
    /// their place; what filters after this one return is then dropped.
    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        _trailers: &mut HeaderMap,
        ctx: &mut Ctx,
    ) -> Result<Option<Bytes>> {
        ctx.not_implemented::<Self>(Hook::ResponseTrailer);
        Ok(None)
    }

    /// The request has ended, one way or another; metrics and access log come after this. `error` is what ended it, if it was one;
    /// [`Ctx::reason`] says it in a word.
    async fn logging(&self, _session: &mut Session, _error: Option<&Error>, ctx: &mut Ctx) {
        ctx.not_implemented::<Self>(Hook::Logging);
    }

    /// The files that it was made from. A reload makes it anew if another text stands in one of them, and `watch: true` looks at
    /// them, too; otherwise a filter whose options stay the same goes on with what it knows.
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// The type that implements it, by which its default methods are told from those of a filter that it calls. Not to be
    /// implemented.
    #[doc(hidden)]
    fn kind(&self) -> TypeId {
        TypeId::of::<Self>()
    }
}

#[cfg(test)]
mod tests;
