//! `body_limit`: how large a request's body may be, where that is less than `limits.max_body_size`.

use async_trait::async_trait;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session;

use crate::config::{Mistake, Options, Size};
use crate::filter::{Answer, Ctx, Filter};
use crate::pool::is_tunnel;
use crate::reason::Reason;

/// `body_limit: 10MiB`
pub(super) struct BodyLimit(u64);

impl BodyLimit {
    pub(super) fn new(options: &Options) -> std::result::Result<Self, Mistake> {
        options.parse().map(|Size(limit)| BodyLimit(limit))
    }
}

#[async_trait]
impl Filter for BodyLimit {
    /// One that says how long it is need not begin.
    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        let length = session.req_header().headers.get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_none_or(|length| length <= self.0) {
            return Ok(false);
        }
        Answer::refusal(Reason::BodyTooLarge)?.send(session, ctx).await
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        _body: &mut Option<Bytes>,
        _end_of_stream: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        if ctx.body_received() <= self.0 || is_tunnel(session) {
            return Ok(());
        }
        Error::e_explain(ErrorType::HTTPStatus(413), "body larger than its body_limit")
    }
}
