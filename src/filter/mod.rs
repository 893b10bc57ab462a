//! Filters: what a library user adds to the way of a request.

mod respond;

use async_trait::async_trait;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_core::{Error, Result};
use pingora_proxy::Session;

use crate::ctx::Ctx;

pub use respond::respond;

/// A hook on a request: the names, the order and the meaning of `ProxyHttp`'s own, every one of them optional.
///
/// Filters run in the order of a route's `filters`. An error from a hook ends the request; one made with
/// `Error::explain(HTTPStatus(403), "…")` ends it with that status and the reason `refused`; [`respond`] says it in other words.
#[async_trait]
pub trait Filter: Send + Sync {
    /// The header has come in, and the route is found. `Ok(true)` says that this filter has written the response.
    async fn request_filter(&self, _session: &mut Session, _ctx: &mut Ctx) -> Result<bool> {
        Ok(false)
    }

    /// The header is about to be sent to a backend; once for each attempt.
    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        _upstream_request: &mut RequestHeader,
        _ctx: &mut Ctx,
    ) -> Result<()> {
        Ok(())
    }

    /// The response's header is about to be sent to the client.
    async fn response_filter(
        &self,
        _session: &mut Session,
        _response: &mut ResponseHeader,
        _ctx: &mut Ctx,
    ) -> Result<()> {
        Ok(())
    }

    /// The request has ended, one way or another.
    async fn logging(&self, _session: &mut Session, _error: Option<&Error>, _ctx: &mut Ctx) {}
}
