//! Whether a request may be sent again: what went wrong, and what is lost or done twice if it is.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::{HeaderMap, Method, header::RETRY_AFTER};
use pingora_core::protocols::http::v2::client::PING_TIMEDOUT;
use pingora_core::{Error, ErrorSource, ErrorType, RetryType};

use super::failure;
use super::translate::NOT_HTTP2;
use crate::config::RetryOn;

/// What is known when an attempt has failed on a connection.
pub(super) struct Broken {
    /// Some of the response has gone to the client.
    pub(super) response_started: bool,
    /// All that came of the body so far can be sent again.
    pub(super) body_kept: bool,
}

/// What went wrong with an attempt, as `retry.on` tells it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The backend could not be reached: nothing was sent.
    Connect,
    /// In HTTP/2, it said that it has not looked at the request.
    RefusedStream,
    /// The connection broke.
    Reset,
    /// It was too late.
    Timeout,
    /// It answered with this.
    Status(u16),
    /// It answered a call of gRPC with this status, and nothing else.
    Call(u8),
    /// It answered what is no HTTP, or the fault is not the backend's.
    Other,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Status(status) => write!(f, "{status}"),
            Trouble::Call(status) => write!(f, "grpc status {status}"),
            other => write!(f, "{other:?}"),
        }
    }
}

impl Trouble {
    /// What an error on a backend's connection is.
    pub(super) fn of(error: &Error) -> Self {
        if error.esource != ErrorSource::Upstream {
            return Trouble::Other;
        }
        match error.etype {
            // Pingora says so of REFUSED_STREAM and GOAWAY; beside them only of peers that speak no HTTP/2.
            ErrorType::H2Error | ErrorType::H2Downgrade if matches!(error.retry, RetryType::Decided(true)) => {
                Trouble::RefusedStream
            }
            ref kind if *kind == NOT_HTTP2 => Trouble::Connect,
            ref kind if *kind == PING_TIMEDOUT => Trouble::Reset,
            _ if failure::ended_by_backend(error) => Trouble::Reset,
            ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError => Trouble::Reset,
            ErrorType::ReadTimedout | ErrorType::WriteTimedout => Trouble::Timeout,
            _ => Trouble::Other,
        }
    }

    /// Whether no backend has seen the request.
    pub(super) fn unseen(self) -> bool {
        matches!(self, Trouble::Connect | Trouble::RefusedStream)
    }

    /// Whether the configuration wants another attempt.
    pub(super) fn wanted(self, on: &RetryOn) -> bool {
        match self {
            Trouble::Connect => on.connect,
            Trouble::RefusedStream => on.refused_stream,
            Trouble::Reset => on.reset,
            Trouble::Timeout => on.timeout,
            Trouble::Status(status) => on.statuses.contains(&status),
            Trouble::Call(status) => on.calls.contains(&status),
            Trouble::Other => false,
        }
    }

    /// Whether the request may go to another backend: nobody has seen it, or doing it twice is the same as doing it once (RFC
    /// 9110, 9.2.2), or the configuration says that it does not mind. A POST whose bytes were sent is not sent again: the
    /// backend may have acted on it before it broke off. A call of gRPC is always a POST: whoever names its statuses in `retry.on`
    /// has said that it does not mind.
    pub(super) fn allows(self, method: &Method, non_idempotent: bool, broken: &Broken) -> bool {
        let harmless = self.unseen() || matches!(self, Trouble::Call(_)) || method.is_idempotent() || non_idempotent;
        harmless && !broken.response_started && broken.body_kept
    }
}

/// Whether the backend had closed a kept connection before the request got there: nobody's fault, and no sign of its health.
pub(super) fn stale(error: &Error, reused: bool, broken: &Broken) -> bool {
    reused && !broken.response_started && Trouble::of(error) == Trouble::Reset
}

/// How long a response asks to wait before the next request (RFC 9110, 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    // In the past is now.
    Some((date.to_utc() - now).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Broken = Broken { response_started: false, body_kept: true };

    fn refused() -> Box<Error> {
        let mut error = Error::new_up(ErrorType::H2Error);
        error.retry = true.into();
        error
    }

    #[test]
    fn what_an_error_is() {
        for (error, trouble) in [
            (Error::new_up(ErrorType::ConnectionClosed), Trouble::Reset),
            (Error::new_up(ErrorType::WriteError), Trouble::Reset),
            (Error::new_up(ErrorType::ReadTimedout), Trouble::Timeout),
            (Error::new_up(ErrorType::InvalidHTTPHeader), Trouble::Other),
            (Error::new_up(ErrorType::H2Error), Trouble::Other),
            (refused(), Trouble::RefusedStream),
            (Error::new_down(ErrorType::ConnectionClosed), Trouble::Other),
        ] {
            assert_eq!(Trouble::of(&error), trouble, "{error}");
        }
    }

    #[test]
    fn only_what_is_the_same_done_twice_is_sent_again() {
        use Trouble::{Connect, RefusedStream, Reset, Status, Timeout};
        for (method, again) in [
            (Method::GET, true),
            (Method::HEAD, true),
            (Method::OPTIONS, true),
            (Method::PUT, true),
            (Method::DELETE, true),
            (Method::POST, false),
            (Method::PATCH, false),
        ] {
            for trouble in [Reset, Timeout, Status(503)] {
                assert_eq!(trouble.allows(&method, false, &FRESH), again, "{method} after {trouble:?}");
                assert!(trouble.allows(&method, true, &FRESH), "{method}, if the configuration does not mind");
            }
            for trouble in [Connect, RefusedStream] {
                assert!(trouble.allows(&method, false, &FRESH), "{method} that nobody has seen");
            }
        }
    }

    #[test]
    fn never_once_the_response_began_or_the_body_is_gone() {
        let started = Broken { response_started: true, ..FRESH };
        let gone = Broken { body_kept: false, ..FRESH };
        for trouble in [Trouble::Reset, Trouble::RefusedStream, Trouble::Status(503)] {
            assert!(!trouble.allows(&Method::GET, true, &started));
            assert!(!trouble.allows(&Method::PUT, true, &gone));
        }
    }

    #[test]
    fn the_configuration_says_after_what() {
        let on = RetryOn::default();
        assert!(Trouble::Timeout.wanted(&on) && Trouble::Status(503).wanted(&on));
        assert!(!Trouble::Status(500).wanted(&on) && !Trouble::Other.wanted(&on));
        assert!(!Trouble::Connect.wanted(&RetryOn::NEVER));
    }

    #[test]
    fn a_pause_is_seconds_or_a_date() {
        let now = DateTime::parse_from_rfc3339("1994-11-06T08:49:30Z").unwrap().to_utc();
        for (text, pause) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            assert_eq!(retry_after(&headers, now), pause.map(Duration::from_secs), "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
