//! An answer of our own, in place of a backend's: a text, or a refusal with its reason.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, RETRY_AFTER, TRANSFER_ENCODING};
use http::{HeaderValue, Method, StatusCode, Version};
use pingora::http::{IntoCaseHeaderName, ResponseHeader};
use pingora_core::protocols::http::HttpTask;
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session;
use tokio::time::timeout;

use super::{Ctx, Hook, call};
use crate::reason::Reason;
use crate::terms::tell_strict_transport;

/// The header that tells the client, and whoever debugs it, the [`Reason`].
const REASON_HEADER: &str = "X-Evenkeel-Reason";

/// How long the rest of a body that nobody wants is read, so that the client sees the answer and not a reset.
const DRAIN: Duration = Duration::from_secs(2);

/// In seconds, one of them at random: those who were sent away at once are not to come back at once.
const SOON: [&str; 3] = ["1", "2", "3"];

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// An answer of our own, in place of a backend's.
///
/// A `request_filter` that has sent one returns `Ok(true)`. The filters of the request see it as they see a backend's answer.
///
/// ```
/// # use evenkeel::filter::{Answer, Ctx};
/// # use pingora_proxy::Session;
/// # async fn request_filter(session: &mut Session, ctx: &mut Ctx) -> pingora::Result<bool> {
/// Answer::new(401)?.header("WWW-Authenticate", "Basic")?.text("who are you?\n").send(session, ctx).await
/// # }
/// ```
#[derive(Debug)]
pub struct Answer {
    header: ResponseHeader,
    body: Bytes,
    /// Why it is a refusal, if it is one.
    refusal: Option<Reason>,
}

impl Answer {
    /// An answer with this status, and without a body.
    ///
    /// # Errors
    /// That there is no such status.
    pub fn new(status: u16) -> Result<Self> {
        let header = ResponseHeader::build(status, Some(8))?;
        Ok(Answer { header, body: Bytes::new(), refusal: None })
    }

    /// A refusal in the form of all others: the status of `reason`, a line of text, `X-Evenkeel-Reason`. A call of gRPC is
    /// answered with the status of gRPC that it comes nearest to.
    ///
    /// # Errors
    /// None: what is written is well-formed.
    pub fn refusal(reason: Reason) -> Result<Self> {
        Self::refusal_with(reason.status(), reason)
    }

    /// The same, with another status.
    ///
    /// # Errors
    /// None: a status that is none is taken for 500.
    pub(crate) fn refusal_with(status: u16, reason: Reason) -> Result<Self> {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let text = format!("{} {}: {reason}\n", status.as_u16(), status.canonical_reason().unwrap_or("Error"));
        let mut answer = Answer::new(status.as_u16())?.header(REASON_HEADER, reason.as_str())?.text(text);
        answer.refusal = Some(reason);
        match reason {
            Reason::Overloaded => answer.header(RETRY_AFTER, SOON[fastrand::usize(..SOON.len())]),
            Reason::MethodNotAllowed => answer.header(ALLOW, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
            _ => Ok(answer),
        }
    }

    /// Set a header, in place of any of this name.
    ///
    /// # Errors
    /// That the name or the value has a character which it may not have.
    pub fn header(mut self, name: impl IntoCaseHeaderName, value: impl TryInto<HeaderValue>) -> Result<Self> {
        let malformed = |_| Error::explain(ErrorType::InvalidHTTPHeader, "a header that is none");
        let value = value.try_into().map_err(malformed)?;
        self.header.insert_header(name, value)?;
        Ok(self)
    }

    /// Add a header, beside any of this name.
    ///
    /// # Errors
    /// That the name or the value has a character which it may not have.
    pub fn append(mut self, name: impl IntoCaseHeaderName, value: impl TryInto<HeaderValue>) -> Result<Self> {
        let malformed = |_| Error::explain(ErrorType::InvalidHTTPHeader, "a header that is none");
        let value = value.try_into().map_err(malformed)?;
        self.header.append_header(name, value)?;
        Ok(self)
    }

    /// Be a refusal for this reason, whatever else it says.
    ///
    /// # Errors
    /// None: what is written is well-formed.
    pub fn because(mut self, reason: Reason) -> Result<Self> {
        self.refusal = Some(reason);
        self.header(REASON_HEADER, reason.as_str())
    }

    /// Have this text for its body, as `text/plain`.
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Self {
        self.body(TEXT, text.into().into_bytes())
    }

    /// Have this body, and its type.
    #[must_use]
    pub fn body(mut self, kind: HeaderValue, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        // Neither the name nor the value can be refused.
        let _ = self.header.insert_header(CONTENT_TYPE, kind);
        self
    }

    /// Send it. `Ok(true)`, for `request_filter` to return.
    ///
    /// # Errors
    /// That the client has gone, or what a filter says of it.
    pub async fn send(mut self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        if let Some(reason) = self.refusal {
            ctx.refuse(reason, self.header.status.as_u16());
            if call::is_call(session.req_header()) {
                self.become_call(session)?;
            }
        }
        tell_strict_transport(&mut self.header)?;
        // For the filters, of which some leave alone what is short; what they make of it is told anew below.
        self.tell_length(session, self.body.len())?;
        if let Some(chain) = ctx.filters(Hook::Response) {
            chain.response_filter(session, &mut self.header, ctx).await?;
        }
        let mut body = self.has_body().then_some(std::mem::take(&mut self.body));
        if body.is_some()
            && let Some(chain) = ctx.filters(Hook::ResponseBody)
        {
            chain.response_body_filter(session, &mut body, true, ctx)?;
        }
        // The whole of it is here: no chunks, whatever a filter has prepared for.
        self.header.remove_header(&TRANSFER_ENCODING);
        self.tell_length(session, body.as_ref().map_or(0, Bytes::len))?;
        let sent = session.req_header().method != Method::HEAD;
        let body = body.filter(|body| sent && !body.is_empty());
        self.write(session, body).await.map(|()| true)
    }

    /// The rest of a request that is not over is read, or its client loses the answer. Of HTTP/2 pingora gives the stream up when
    /// the answer has ended, and there are clients that take that for the answer: ahead of it, then, or after it where the client
    /// is to stop sending. Of HTTP/1 it closes the connection, which resets it while there is something unread: after the answer.
    async fn write(self, session: &mut Session, body: Option<Bytes>) -> Result<()> {
        let unread = !session.as_downstream_mut().is_body_done();
        let over_http2 = session.req_header().version == Version::HTTP_2;
        let stops = self.refusal.is_some() || session.req_header().headers.contains_key(EXPECT);
        let first = over_http2 && !stops;
        if unread && first {
            drain(session).await;
        }
        // As tasks: a header that is written by itself does not end its stream, and what follows would be no trailers.
        let mut tasks = vec![HttpTask::Header(Box::new(self.header), body.is_none())];
        tasks.extend(body.map(|body| HttpTask::Body(Some(body), true)));
        session.write_response_tasks(tasks).await?;
        if unread && !first {
            drain(session).await;
        }
        Ok(())
    }

    /// RFC 9110, 8.6: neither of them has a body, nor says how long one would be.
    fn has_body(&self) -> bool {
        self.header.status != StatusCode::NO_CONTENT && self.header.status != StatusCode::NOT_MODIFIED
    }

    fn tell_length(&mut self, session: &Session, length: usize) -> Result<()> {
        let call = self.header.headers.contains_key("grpc-status") && session.req_header().version == Version::HTTP_2;
        if !self.has_body() || call {
            return Ok(());
        }
        self.header.insert_header(CONTENT_LENGTH, length)
    }

    /// The same for a call of gRPC, whose client looks for a status of gRPC.
    fn become_call(&mut self, session: &Session) -> Result<()> {
        let Some(reason) = self.refusal else { return Ok(()) };
        let status = call::status_of(reason, self.header.status.as_u16());
        self.header.set_status(StatusCode::OK)?;
        let kind = call::kind(session.req_header()).cloned();
        self.header.insert_header(CONTENT_TYPE, kind.unwrap_or(HeaderValue::from_static("application/grpc")))?;
        self.header.insert_header("grpc-status", status.to_string())?;
        self.header.insert_header("grpc-message", reason.as_str())?;
        self.body = Bytes::new();
        Ok(())
    }
}

/// Read what is left of the request's body, for a while. A client that does not send it any more has its answer all the same.
async fn drain(session: &mut Session) {
    let _ = timeout(DRAIN, session.as_downstream_mut().drain_request_body()).await;
}
