//! `request_id`: what a request is known by, in the header and the form that others use, and told to the client as well.

use async_trait::async_trait;
use http::header::HOST;
use http::{HeaderName, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_core::Result;
use pingora_proxy::Session;
use serde::Deserialize;

use super::headers::checked;
use crate::config::{Mistake, Options};
use crate::filter::{Ctx, Filter, RequestId};

const HEADER: &str = "x-request-id";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    header: Option<String>,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    trust: Trust,
    response: Option<bool>,
}

/// What a new one looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// 32 hexadecimal digits.
    #[default]
    Hex,
    /// A random UUID, version 4.
    Uuid,
    /// A UUID that begins with the time, version 7.
    UuidV7,
}

/// Whose ids are taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Trust {
    /// Those of `trusted_proxies`.
    #[default]
    Proxies,
    Everybody,
    Nobody,
}

/// `request_id: { header: X-Correlation-Id, format: uuid }`
pub(super) struct OwnRequestId {
    header: HeaderName,
    format: Format,
    trust: Trust,
    /// Whether the client is told.
    response: bool,
}

impl OwnRequestId {
    pub(super) fn new(options: &Options) -> std::result::Result<Self, Mistake> {
        let settings: Settings = options.parse()?;
        let header = settings.header.as_deref().unwrap_or(HEADER);
        let header = checked(header).map_err(|why| options.mistake_at("header", why))?;
        if header == HOST {
            return Err(options.mistake_at("header", "cannot be Host, which says whom a request is for"));
        }
        Ok(OwnRequestId {
            header,
            format: settings.format,
            trust: settings.trust,
            response: settings.response.unwrap_or(true),
        })
    }

    fn given(&self, session: &Session, ctx: &Ctx) -> Option<RequestId> {
        let believed = match self.trust {
            Trust::Proxies => ctx.is_from_trusted_proxy(),
            Trust::Everybody => true,
            Trust::Nobody => false,
        };
        believed.then(|| RequestId::given(&session.req_header().headers, self.header.as_str())).flatten()
    }
}

#[async_trait]
impl Filter for OwnRequestId {
    /// Ahead of the filters that log it or pass it on.
    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
        let id = self.given(session, ctx).unwrap_or_else(|| match self.format {
            Format::Hex => RequestId::random(),
            Format::Uuid => RequestId::uuid(),
            Format::UuidV7 => RequestId::uuid_of_now(),
        });
        ctx.set_request_id(id);
        Ok(())
    }

    async fn upstream_request_filter(&self, _: &mut Session, request: &mut RequestHeader, ctx: &mut Ctx) -> Result<()> {
        if self.header != HEADER {
            // In its place: one id, in one header.
            request.remove_header(HEADER);
        }
        request.insert_header(&self.header, value(ctx)?)
    }

    async fn response_filter(&self, _: &mut Session, response: &mut ResponseHeader, ctx: &mut Ctx) -> Result<()> {
        if self.response { response.insert_header(&self.header, value(ctx)?) } else { Ok(()) }
    }
}

fn value(ctx: &Ctx) -> Result<HeaderValue> {
    use pingora_core::{ErrorType, OrErr};
    HeaderValue::from_str(ctx.request_id().as_str()).or_err(ErrorType::InternalError, "an id is no header value")
}
