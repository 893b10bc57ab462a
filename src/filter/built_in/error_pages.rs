//! `error_pages`: pages of one's own in place of the line of text that a refusal has, and of backends' error pages.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, LAST_MODIFIED,
    TRANSFER_ENCODING,
};
use http::{HeaderValue, Method};
use pingora::http::ResponseHeader;
use pingora_core::Result;
use pingora_proxy::Session;
use serde::Deserialize;

use crate::config::{Mistake, Options, contents};
use crate::filter::{Ctx, Filter};

/// A page that is larger than this is no page.
const LARGEST: u64 = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    pages: BTreeMap<String, PathBuf>,
    #[serde(default)]
    of: Whose,
}

/// Whose error pages are replaced.
#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Whose {
    /// Those that we would write.
    #[default]
    Ours,
    /// Those of backends, too.
    All,
}

/// Has pages for statuses.
pub(super) struct ErrorPages {
    /// By what was written, the exact ones before the classes.
    pages: Vec<(Statuses, Page)>,
    of: Whose,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Statuses {
    One(u16),
    /// `4xx`: by its hundreds.
    Class(u16),
}

struct Page {
    path: PathBuf,
    text: String,
    kind: HeaderValue,
}

/// The page that takes the place of a body, until it has been sent.
#[derive(Clone)]
struct Pending(Option<Bytes>);

impl ErrorPages {
    pub(super) fn new(options: &Options) -> std::result::Result<Self, Mistake> {
        let settings: Settings = options.parse()?;
        if settings.pages.is_empty() {
            return Err(options.mistake_at("pages", "needs at least one, like { 5xx: pages/5xx.html }"));
        }
        let page = |(status, path): (&String, &PathBuf)| {
            let statuses = statuses(status).ok_or_else(|| {
                options.mistake_at("pages", format!("must be statuses from 400 on, or 4xx and 5xx, got '{status}'"))
            })?;
            Ok((statuses, Page::read(options, path)?))
        };
        let mut pages = settings.pages.iter().map(page).collect::<std::result::Result<Vec<_>, Mistake>>()?;
        pages.sort_by_key(|(statuses, _)| *statuses);
        Ok(ErrorPages { pages, of: settings.of })
    }

    fn page(&self, status: u16) -> Option<&Page> {
        let found = self.pages.iter().find(|(statuses, _)| match statuses {
            Statuses::One(one) => *one == status,
            Statuses::Class(class) => *class == status / 100,
        });
        found.map(|(_, page)| page)
    }
}

fn statuses(written: &str) -> Option<Statuses> {
    match written.strip_suffix("xx") {
        Some(class) => class.parse().ok().filter(|class| (4..=5).contains(class)).map(Statuses::Class),
        None => written.parse().ok().filter(|status| (400..=599).contains(status)).map(Statuses::One),
    }
}

impl Page {
    fn read(options: &Options, path: &PathBuf) -> std::result::Result<Self, Mistake> {
        let (written, path) = (path.display(), options.path(path));
        let wrong = |why: String| options.mistake_at("pages", format!("not usable here: {written}: {why}"));
        let text = contents(&path, LARGEST).map_err(wrong)?;
        let text = String::from_utf8(text).map_err(|_| wrong("is not text in UTF-8".to_owned()))?;
        let kind = match path.extension().and_then(|extension| extension.to_str()) {
            Some("html" | "htm") => HeaderValue::from_static("text/html; charset=utf-8"),
            Some("json") => HeaderValue::from_static("application/json"),
            Some("txt") => HeaderValue::from_static("text/plain; charset=utf-8"),
            _ => return Err(wrong("must end in .html, .json or .txt, which says what it is".to_owned())),
        };
        Ok(Page { path, text, kind })
    }

    /// With what is known of this request.
    fn filled(&self, status: u16, ctx: &Ctx) -> Bytes {
        let reason = ctx.reason().map_or("", |reason| reason.as_str());
        // A request id that another proxy gave may be anything: in HTML or JSON it is to be no more than a word.
        let id: String =
            ctx.request_id().as_str().chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
        let text = self.text.replace("{status}", &status.to_string()).replace("{reason}", reason);
        text.replace("{request_id}", &id).into()
    }
}

#[async_trait]
impl Filter for ErrorPages {
    async fn response_filter(&self, session: &mut Session, response: &mut ResponseHeader, ctx: &mut Ctx) -> Result<()> {
        let status = response.status.as_u16();
        let Some(page) = self.page(status) else { return Ok(()) };
        let ours = ctx.reason().is_some() || ctx.backend().is_none();
        // The client of a call reads its status from the header.
        let call = response.headers.contains_key("grpc-status");
        if call || !ours && (self.of == Whose::Ours || !has_body(session, response)) {
            return Ok(());
        }
        let text = page.filled(status, ctx);
        for gone in [TRANSFER_ENCODING, CONTENT_ENCODING, ETAG, LAST_MODIFIED, ACCEPT_RANGES] {
            response.remove_header(&gone);
        }
        response.insert_header(CONTENT_TYPE, page.kind.clone())?;
        response.insert_header(CONTENT_LENGTH, text.len())?;
        if ours {
            // A page of ours is about this request, and now.
            response.insert_header(CACHE_CONTROL, "no-store")?;
        }
        ctx.extensions.insert(Pending(Some(text)));
        Ok(())
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        ctx: &mut Ctx,
    ) -> Result<Option<Duration>> {
        if let Some(Pending(page)) = ctx.extensions.get_mut::<Pending>() {
            // In place of the first piece; of the others nothing is left.
            *body = page.take();
        }
        Ok(None)
    }

    fn files(&self) -> Vec<PathBuf> {
        self.pages.iter().map(|(_, page)| page.path.clone()).collect()
    }
}

/// Whether a backend's response surely has a body, in whose place a page can be sent.
fn has_body(session: &Session, response: &ResponseHeader) -> bool {
    let length = response.headers.get(CONTENT_LENGTH).map(HeaderValue::as_bytes);
    let some = length.is_some_and(|length| length.iter().any(|digit| *digit != b'0'));
    session.req_header().method != Method::HEAD && (some || response.headers.contains_key(TRANSFER_ENCODING))
}
