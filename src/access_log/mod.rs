//! The access log: a line for each request, in nginx's `combined` or as JSON.
//!
//! A request only formats its line; a thread of its own writes. If the disk or the reader of a pipe cannot keep up, lines
//! are dropped and counted rather than requests held back.

mod refused;
mod writer;

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use chrono::Local;
use http::header::{HOST, REFERER, USER_AGENT};
use http::{HeaderName, Version};
use pingora_proxy::Session;
use serde::Serialize;

use crate::config::{self, LogFormat};
use crate::filter::Ctx;
pub(crate) use refused::Refused;
use writer::Writer;

/// Where requests are logged. Clones share the writer.
#[derive(Clone)]
pub struct AccessLog {
    format: LogFormat,
    writer: Arc<Writer>,
}

/// One request that has ended.
pub(crate) struct Entry<'a> {
    pub(crate) session: &'a Session,
    pub(crate) ctx: &'a Ctx,
    pub(crate) status: u16,
    pub(crate) elapsed: Duration,
}

impl AccessLog {
    /// Open the log.
    ///
    /// # Errors
    /// What the system says about the file.
    pub fn open(settings: &config::AccessLog) -> io::Result<Self> {
        Ok(AccessLog { format: settings.format, writer: Arc::new(Writer::open(&settings.path)?) })
    }

    /// Lines that could not be kept.
    pub fn dropped(&self) -> u64 {
        self.writer.dropped()
    }

    /// Go on in a file of the same name, for one that has been moved. No line is lost. May wait for the disk.
    ///
    /// # Errors
    /// That it cannot be opened; the log goes on in the one that is open.
    pub fn reopen(&self) -> io::Result<()> {
        self.writer.reopen()
    }

    /// Wait a moment for what has been logged to be written.
    pub fn flush(&self) {
        self.writer.flush();
    }

    pub(crate) fn write(&self, entry: &Entry<'_>) {
        let line = match self.format {
            LogFormat::Combined => combined(entry),
            LogFormat::Json => json(entry),
        };
        self.writer.write(line);
    }
}

fn now() -> String {
    Local::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, false)
}

/// `$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"`
fn combined(entry: &Entry<'_>) -> String {
    let request = entry.session.req_header();
    let mut line = String::with_capacity(256);
    // Writing to a string does not fail.
    let _ = match entry.ctx.client() {
        Some(client) => write!(line, "{client}"),
        None => write!(line, "unix:"),
    };
    let user = basic_user(entry.session);
    let _ = write!(line, " - {} [{}] \"", user.as_deref().unwrap_or("-"), Local::now().format("%d/%b/%Y:%H:%M:%S %z"));
    escape(&mut line, request.method.as_str().as_bytes());
    line.push(' ');
    escape(&mut line, request.raw_path());
    let _ = write!(line, " {}\" {} {} \"", protocol(request.version), entry.status, entry.session.body_bytes_sent());
    escape_header(&mut line, entry.session, &REFERER);
    line.push_str("\" \"");
    escape_header(&mut line, entry.session, &USER_AGENT);
    line.push('"');
    line
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

/// The name of HTTP basic authentication, as nginx's `$remote_user`.
fn basic_user(session: &Session) -> Option<String> {
    let value = session.req_header().headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(credentials.trim()).ok()?;
    let user = decoded.split(|&b| b == b':').next().filter(|user| !user.is_empty())?;
    let mut escaped = String::new();
    escape(&mut escaped, user);
    Some(escaped)
}

fn escape_header(line: &mut String, session: &Session, name: &HeaderName) {
    match session.req_header().headers.get(name) {
        Some(value) => escape(line, value.as_bytes()),
        None => line.push('-'),
    }
}

/// nginx's default escaping: `"`, `\` and everything outside printable ASCII as `\xHH`.
fn escape(line: &mut String, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b'"' | b'\\' | 0..=31 | 127..=255 => {
                let _ = write!(line, "\\x{byte:02X}");
            }
            _ => line.push(byte as char),
        }
    }
}

#[derive(Default, Serialize)]
struct Line<'a> {
    time: String,
    client: Option<std::net::IpAddr>,
    request_id: &'a str,
    method: &'a str,
    host: Option<&'a str>,
    path: String,
    protocol: &'static str,
    status: u16,
    /// How a call of gRPC has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc_status: Option<u8>,
    bytes_sent: usize,
    bytes_received: u64,
    referer: Option<&'a str>,
    user_agent: Option<&'a str>,
    pool: Option<&'a str>,
    backend: Option<&'a str>,
    attempts: Vec<LoggedAttempt<'a>>,
    /// Whose answer came first, where a second backend was asked beside a slow first: `won` is the second.
    hedge: Option<&'static str>,
    reused: bool,
    connect_ms: Option<f64>,
    first_byte_ms: Option<f64>,
    total_ms: f64,
    reason: Option<&'static str>,
}

#[derive(Serialize)]
struct LoggedAttempt<'a> {
    backend: &'a str,
    /// `null` for the one that was answered.
    failed: Option<&'static str>,
    took_ms: f64,
}

fn json(entry: &Entry<'_>) -> String {
    let request = entry.session.req_header();
    let ctx = entry.ctx;
    let text = |name| request.headers.get(name).and_then(|value| value.to_str().ok());
    let failed = ctx.failed.iter().map(|attempt| LoggedAttempt {
        backend: attempt.backend.label(),
        failed: Some(attempt.reason.as_str()),
        took_ms: millis(attempt.took),
    });
    let last = ctx.backend().map(|backend| LoggedAttempt {
        backend: backend.label(),
        failed: ctx.reason.map(|reason| reason.as_str()),
        took_ms: ctx.attempt.started.map(|at| millis(at.elapsed())).unwrap_or_default(),
    });
    let line = Line {
        time: now(),
        client: ctx.client(),
        request_id: ctx.request_id().as_str(),
        method: request.method.as_str(),
        host: text(HOST).or_else(|| request.uri.authority().map(|authority| authority.as_str())),
        path: String::from_utf8_lossy(request.raw_path()).into_owned(),
        protocol: protocol(request.version),
        status: entry.status,
        grpc_status: ctx.grpc_status,
        bytes_sent: entry.session.body_bytes_sent(),
        bytes_received: ctx.body_received,
        referer: text(REFERER),
        user_agent: text(USER_AGENT),
        pool: ctx.pool().map(|pool| pool.name()),
        backend: ctx.backend().or(ctx.failed.last().map(|attempt| &attempt.backend)).map(|backend| backend.label()),
        attempts: failed.chain(last).collect(),
        hedge: ctx.hedged.map(|won| if won { "won" } else { "lost" }),
        reused: ctx.attempt.reused,
        connect_ms: ctx.attempt.connect.map(millis),
        first_byte_ms: ctx.attempt.first_byte.map(millis),
        total_ms: millis(entry.elapsed),
        reason: ctx.reason.map(|reason| reason.as_str()),
    };
    // Of plain strings and numbers, which always serialize.
    serde_json::to_string(&line).unwrap_or_default()
}

/// Milliseconds with three digits behind the point.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_as_nginx_does() {
        let mut line = String::new();
        escape(&mut line, b"a\"b\\c\x01\x7f\xc3\xa9 ");
        assert_eq!(line, "a\\x22b\\x5Cc\\x01\\x7F\\xC3\\xA9 ");
    }
}
