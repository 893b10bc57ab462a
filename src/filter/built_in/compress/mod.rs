//! `compress`: responses on their way to a client that reads gzip, Brotli or Zstandard (RFC 9110, 8.4 and 12.5.3).

mod accepted;
mod empty;
mod encoder;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    TRANSFER_ENCODING, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session;
use serde::Deserialize;

use crate::config::{Mistake, Options, Size};
use crate::filter::{Ctx, Filter};
use accepted::best;
use encoder::Encoder;

/// What is compressed unless `types` says otherwise: text, and what is text by another name.
const TYPES: [&str; 19] = [
    "text/*",
    "application/atom+xml",
    "application/geo+json",
    "application/javascript",
    "application/json",
    "application/ld+json",
    "application/manifest+json",
    "application/problem+json",
    "application/rss+xml",
    "application/vnd.api+json",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-javascript",
    "application/xhtml+xml",
    "application/xml",
    "font/otf",
    "font/ttf",
    "image/svg+xml",
    "image/x-icon",
];

/// Whatever `types` says: each event is to come at once, and each message of a call is compressed by whoever wants that.
const NEVER: [&str; 2] = ["text/event-stream", "application/grpc"];

/// Less is not worth a client's time, and hardly gets smaller.
const MIN_LENGTH: Size = Size(1024);

/// Tells filters apart, of which several may stand in one chain.
static FILTERS: AtomicU64 = AtomicU64::new(0);

/// A content coding.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Coding {
    Zstd,
    Br,
    Gzip,
}

impl Coding {
    fn name(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Coding::Zstd => "zstd",
            Coding::Br => "br",
            Coding::Gzip => "gzip",
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    algorithms: Vec<Coding>,
    types: Vec<String>,
    min_length: Size,
    levels: Levels,
}

impl Default for Settings {
    fn default() -> Self {
        let types = TYPES.map(str::to_owned).to_vec();
        let algorithms = vec![Coding::Zstd, Coding::Br, Coding::Gzip];
        Settings { algorithms, types, min_length: MIN_LENGTH, levels: Levels::default() }
    }
}

/// How hard each tries.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Levels {
    zstd: u8,
    br: u8,
    gzip: u8,
}

impl Default for Levels {
    /// Beyond these a response takes much longer for little: they are Caddy's, and Brotli's that cost about as much.
    fn default() -> Self {
        Levels { zstd: 3, br: 4, gzip: 5 }
    }
}

/// Compresses responses.
pub(super) struct Compress {
    settings: Settings,
    number: u64,
}

/// The body of a response on its way through a filter. A copy, for an attempt that runs beside, begins with none.
struct Encoding {
    filter: u64,
    // Some encoders are not `Sync`; nobody ever waits for it.
    encoder: Mutex<Option<Encoder>>,
    /// Pieces are passed on as they come: how long it will be nobody knows, and somebody may wait for each.
    flush: bool,
}

impl Clone for Encoding {
    fn clone(&self) -> Self {
        Encoding { filter: self.filter, encoder: Mutex::new(None), flush: self.flush }
    }
}

impl Compress {
    pub(super) fn new(options: &Options) -> std::result::Result<Self, Mistake> {
        let settings: Settings = options.parse()?;
        let Levels { zstd, br, gzip } = settings.levels;
        for (key, level, most) in [("zstd", zstd, 19), ("br", br, 11), ("gzip", gzip, 9)] {
            if level == 0 || level > most {
                return Err(options.mistake_at("levels", format!("{key} must be 1 to {most}, got {level}")));
            }
        }
        if settings.algorithms.is_empty() {
            return Err(options.mistake_at("algorithms", "must name at least one of zstd, br and gzip"));
        }
        if let Some(kind) = settings.types.iter().find(|kind| !kind.contains('/')) {
            return Err(options.mistake_at("types", format!("must be types like text/html or text/*, got '{kind}'")));
        }
        Ok(Compress { settings, number: FILTERS.fetch_add(1, Relaxed) })
    }

    /// Whether a response may be compressed, whoever it is for.
    fn suits(&self, response: &ResponseHeader) -> bool {
        let headers = &response.headers;
        let bodiless = matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        // A part of a compressed body is not a compressed part.
        let partial = response.status == StatusCode::PARTIAL_CONTENT || headers.contains_key(CONTENT_RANGE);
        let long = length(headers).is_none_or(|length| length >= self.settings.min_length.0);
        let whole = !response.status.is_informational() && !bodiless && !partial;
        whole && long && !headers.contains_key(CONTENT_ENCODING) && !keeps(headers) && self.is_wanted(headers)
    }

    fn is_wanted(&self, headers: &HeaderMap) -> bool {
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        !NEVER.iter().any(|never| begins(kind, never)) && self.settings.types.iter().any(|one| is_of(kind, one))
    }

    fn encoding<'a>(&self, ctx: &'a mut Ctx) -> Option<&'a mut Encoding> {
        ctx.extensions.get_mut::<Encoding>().filter(|encoding| encoding.filter == self.number)
    }
}

#[async_trait]
impl Filter for Compress {
    async fn response_filter(&self, session: &mut Session, response: &mut ResponseHeader, ctx: &mut Ctx) -> Result<()> {
        if !self.suits(response) {
            return Ok(());
        }
        // Caches are told, whatever this client gets.
        vary(response)?;
        let request = session.req_header();
        // HTTP/1.0 has no chunks, and a HEAD no body that the length would be known of.
        let can = request.version != Version::HTTP_10 && request.method != Method::HEAD;
        let Some(coding) = best(&request.headers, &self.settings.algorithms).filter(|_| can) else { return Ok(()) };
        let encoder = Encoder::new(coding, self.settings.levels).map_err(failed)?;
        let flush = !response.headers.contains_key(CONTENT_LENGTH);
        let encoding = Encoding { filter: self.number, encoder: Mutex::new(Some(encoder)), flush };
        ctx.extensions.insert(encoding);
        empty::unless_empty(session);
        announce(response, coding)
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Ctx,
    ) -> Result<Option<Duration>> {
        let Some(encoding) = self.encoding(ctx) else { return Ok(None) };
        let flush = encoding.flush;
        let Ok(slot) = encoding.encoder.get_mut() else { return Ok(None) };
        let Some(encoder) = slot else { return Ok(None) };
        let piece = body.take().unwrap_or_default();
        let mut encoded = encoder.encode(&piece, flush && !end_of_stream).map_err(failed)?;
        if end_of_stream && let Some(encoder) = slot.take() {
            encoded.extend(encoder.finish().map_err(failed)?);
        }
        *body = (!encoded.is_empty()).then(|| encoded.into());
        Ok(None)
    }

    /// What ends with trailers has not had an end before them: these are lost, and the body is whole.
    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        _trailers: &mut HeaderMap,
        ctx: &mut Ctx,
    ) -> Result<Option<Bytes>> {
        let encoder = self.encoding(ctx).and_then(|encoding| encoding.encoder.get_mut().ok()?.take());
        encoder.map(|encoder| encoder.finish().map(Bytes::from).map_err(failed)).transpose()
    }
}

fn failed(e: std::io::Error) -> Box<Error> {
    Error::because(ErrorType::InternalError, "cannot compress", e)
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// RFC 9111, 5.2.2.6: it is to stay as it is.
fn keeps(headers: &HeaderMap) -> bool {
    let says = |value: &HeaderValue| {
        let mut directives = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        directives.any(|directive| directive.eq_ignore_ascii_case(b"no-transform"))
    };
    headers.get_all(CACHE_CONTROL).iter().any(says)
}

fn begins(kind: &str, with: &str) -> bool {
    kind.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with))
}

fn is_of(kind: &str, one: &str) -> bool {
    match one.strip_suffix('*') {
        Some("*/") => kind.contains('/'),
        Some(start) => begins(kind, start),
        None => kind.eq_ignore_ascii_case(one),
    }
}

fn vary(response: &mut ResponseHeader) -> Result<()> {
    let names = |value: &HeaderValue| {
        let mut names = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.any(|name| name.eq_ignore_ascii_case(b"accept-encoding") || name == b"*")
    };
    if response.headers.get_all(VARY).iter().any(names) {
        return Ok(());
    }
    response.append_header(VARY, "Accept-Encoding").map(drop)
}

/// Say how the body is coded, and no more what is not true of it then.
fn announce(response: &mut ResponseHeader, coding: Coding) -> Result<()> {
    response.insert_header(CONTENT_ENCODING, coding.name())?;
    response.remove_header(&CONTENT_LENGTH);
    response.remove_header(&ACCEPT_RANGES);
    response.remove_header("content-md5");
    response.remove_header("content-digest");
    response.insert_header(TRANSFER_ENCODING, "chunked")?;
    // RFC 9110, 8.8.1: byte for byte it is another.
    let strong = response.headers.get(ETAG).map(|etag| etag.as_bytes()).filter(|etag| etag.starts_with(b"\""));
    if let Some(weak) = strong.map(|etag| [b"W/", etag].concat()) {
        response.insert_header(ETAG, weak)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
