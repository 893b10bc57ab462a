//! `forward_auth`: asks a service of yours about each request, and does what it says.
//!
//! With 2xx the request goes on, with what the service says of the client in headers; any other answer is the client's. Where the
//! service does not answer nobody comes in, unless the options say so.

mod request;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_core::Result;
use pingora_proxy::Session;
use serde::Deserialize;

use self::request::{ASKED_BY, About};
use super::identity::{self, Identity};
use super::names::{FRAMING, Name, Settable};
use super::quiet::Quiet;
use crate::config::{Mistake, Options, Period, Size};
use crate::filter::client::{Client, Reply, Url};
use crate::filter::{Answer, Ctx, Filter};
use crate::reason::Reason;

const NAME: &str = "forward_auth";
const TIMEOUT: Duration = Duration::from_secs(2);
const MAX_BODY: u64 = 64 * 1024;
/// Of what the client has when its answer is passed on: it is no answer of this connection's.
const OF_ITS_CONNECTION: [&str; 4] = ["content-length", "date", "server", "x-evenkeel-reason"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map")]
struct Settings {
    url: Url,
    ca: Option<PathBuf>,
    timeout: Option<Period>,
    request_headers: Option<Vec<Name>>,
    #[serde(default)]
    copy_headers: Vec<Settable>,
    #[serde(default)]
    response_headers: Vec<Settable>,
    max_body: Option<Size>,
    #[serde(default)]
    on_error: OnError,
}

/// What becomes of a request while the service does not answer.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OnError {
    #[default]
    Deny,
    Allow,
}

/// Why there is nothing to go by.
struct Failure {
    why: String,
    /// Whether it was going to say no, so that nobody comes in for its not being there.
    is_no: bool,
}

/// Headers of an answer that has let somebody in, which are the client's.
#[derive(Clone)]
struct ForClient(Vec<(HeaderName, HeaderValue)>);

/// Asks a service about each request.
pub(super) struct ForwardAuth {
    client: Client,
    ca: Option<PathBuf>,
    timeout: Duration,
    request_headers: Option<Vec<HeaderName>>,
    copy_headers: Vec<HeaderName>,
    response_headers: Vec<HeaderName>,
    identity: Identity,
    max_body: usize,
    on_error: OnError,
    /// By which it knows a question of its own.
    number: String,
    quiet: Quiet,
}

impl ForwardAuth {
    pub(super) fn new(options: &Options) -> std::result::Result<Self, Mistake> {
        let settings: Settings = options.parse()?;
        let ca = settings.ca.map(|file| options.path(file));
        if ca.is_some() && !settings.url.is_https() {
            return Err(options.mistake_at("ca", "is of no use: the URL is not https"));
        }
        let wrong = |why| options.mistake_at(if ca.is_some() { "ca" } else { "url" }, why);
        let client = Client::new(settings.url, ca.as_deref()).map_err(wrong)?;
        let names = |list: Vec<Settable>| -> Vec<HeaderName> { list.into_iter().map(|Settable(name)| name).collect() };
        let copy_headers = names(settings.copy_headers);
        Ok(ForwardAuth {
            client,
            timeout: settings.timeout.map_or(TIMEOUT, |limit| *limit),
            request_headers: settings.request_headers.map(|names| names.into_iter().map(|Name(name)| name).collect()),
            identity: Identity::new(copy_headers.iter().cloned()),
            copy_headers,
            response_headers: names(settings.response_headers),
            max_body: usize::try_from(settings.max_body.map_or(MAX_BODY, |size| size.0)).unwrap_or(usize::MAX),
            on_error: settings.on_error,
            number: format!("{:016x}", fastrand::u64(..)),
            quiet: Quiet::default(),
            ca,
        })
    }

    fn question(&self, session: &Session, ctx: &Ctx) -> Result<RequestHeader> {
        let request = session.req_header();
        let mut asking = self.client.request()?;
        let about = About {
            request,
            scheme: scheme(session, ctx),
            client: ctx.client(),
            trusted: ctx.is_from_trusted_proxy(),
            hidden: hidden(request, ctx),
        };
        request::describe(&mut asking, &about, self.request_headers.as_deref())?;
        // Those who have asked before are told, too: two filters may ask each other.
        asking.remove_header(ASKED_BY);
        for before in request.headers.get_all(ASKED_BY) {
            asking.append_header(ASKED_BY, before.clone())?;
        }
        asking.append_header(ASKED_BY, self.number.as_str())?;
        Ok(asking)
    }

    async fn ask(&self, session: &Session, ctx: &Ctx) -> Result<std::result::Result<Reply, Failure>> {
        if session.req_header().headers.get_all(ASKED_BY).iter().any(|one| one == &self.number) {
            let why = "leads back to this filter: its own questions must not pass it".to_owned();
            return Ok(Err(Failure { why, is_no: true }));
        }
        let asking = self.question(session, ctx)?;
        let is_no = |status: StatusCode| !status.is_success() && !status.is_server_error();
        Ok(match self.client.ask(asking, self.max_body, self.timeout).await {
            Ok(reply) if reply.header.status.is_server_error() && self.on_error == OnError::Allow => {
                Err(Failure { why: format!("answers {}", reply.header.status.as_u16()), is_no: false })
            }
            Err(none) => Err(Failure { why: none.why, is_no: none.began.is_some_and(is_no) }),
            Ok(reply) => Ok(reply),
        })
    }

    /// What the service says of the client goes to the backend.
    fn let_in(&self, session: &mut Session, ctx: &mut Ctx, reply: &Reply) -> Result<bool> {
        for name in &self.copy_headers {
            for value in reply.header.headers.get_all(name) {
                self.identity.tell(session.req_header_mut(), ctx, name, value.clone())?;
            }
        }
        let headers = self
            .response_headers
            .iter()
            .flat_map(|name| reply.header.headers.get_all(name).iter().map(|value| (name.clone(), value.clone())));
        let mut headers = headers.peekable();
        if headers.peek().is_some() {
            ctx.extensions.get_or_insert_with(|| ForClient(Vec::new())).0.extend(headers);
        }
        Ok(false)
    }

    async fn without_an_answer(&self, session: &mut Session, ctx: &mut Ctx, failure: &Failure) -> Result<bool> {
        self.quiet.failed(NAME, self.client.shown(), &failure.why);
        match self.on_error {
            OnError::Allow if !failure.is_no => Ok(false),
            _ => Answer::refusal(Reason::AuthUnavailable)?.send(session, ctx).await,
        }
    }
}

/// What the client has named in `Connection`, so that the backend will not see it, and the service does not either; but for what
/// filters say of the client, which the backend sees all the same.
fn hidden(request: &RequestHeader, ctx: &Ctx) -> Vec<String> {
    let mut hidden = request::nominated(&request.headers);
    hidden.retain(|name| !identity::is_told(ctx, name));
    hidden
}

/// What the client speaks, as far as is known.
fn scheme(session: &Session, ctx: &Ctx) -> &'static str {
    let said = session.req_header().headers.get("x-forwarded-proto").filter(|_| ctx.is_from_trusted_proxy());
    let tls = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
    match said.map(HeaderValue::as_bytes) {
        Some(b"https") => "https",
        Some(b"http") => "http",
        _ if tls => "https",
        _ => "http",
    }
}

/// The service's answer for the client.
fn passed_on(reply: Reply) -> Result<Answer> {
    let status = reply.header.status.as_u16();
    let mut answer = Answer::new(status)?;
    let kind = reply.header.headers.get(CONTENT_TYPE).cloned();
    if !reply.body.is_empty() {
        answer = answer.body(kind.unwrap_or(HeaderValue::from_static("application/octet-stream")), reply.body);
    }
    let nominated = request::nominated(&reply.header.headers);
    for (name, value) in &reply.header.headers {
        let its_own = OF_ITS_CONNECTION.contains(&name.as_str()) || name == CONTENT_TYPE;
        let hop =
            FRAMING.contains(&name.as_str()) || nominated.iter().any(|one| one.eq_ignore_ascii_case(name.as_str()));
        if !its_own && !hop {
            answer = answer.append(name.clone(), value.clone())?;
        }
    }
    match status {
        401 => answer.because(Reason::Unauthorized),
        403 => answer.because(Reason::Forbidden),
        400.. => answer.because(Reason::Refused),
        // To a place where one logs in, say: nothing that has failed.
        _ => Ok(answer),
    }
}

#[async_trait]
impl Filter for ForwardAuth {
    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        let answered = self.ask(session, ctx).await?;
        self.identity.strip(session.req_header_mut(), ctx);
        let reply = match answered {
            Ok(reply) => reply,
            Err(failure) => return self.without_an_answer(session, ctx, &failure).await,
        };
        self.quiet.answered(NAME, self.client.shown());
        match reply.header.status.is_success() {
            true => self.let_in(session, ctx, &reply),
            false => passed_on(reply)?.send(session, ctx).await,
        }
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        upstream_request: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        self.identity.tell_again(upstream_request, ctx)
    }

    async fn response_filter(&self, _: &mut Session, response: &mut ResponseHeader, ctx: &mut Ctx) -> Result<()> {
        // Of all filters like this one, as one answer may be what they are asked for.
        let told = ctx.extensions.remove::<ForClient>();
        for (name, value) in told.into_iter().flat_map(|ForClient(told)| told) {
            response.append_header(name, value)?;
        }
        Ok(())
    }

    fn files(&self) -> Vec<PathBuf> {
        self.ca.iter().cloned().collect()
    }
}
