//! What went wrong with an attempt, and what is lost or done twice if the request is sent again.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::header::RETRY_AFTER;
use http::{HeaderMap, Method, StatusCode};
use pingora_core::protocols::http::v2::client::PING_TIMEDOUT;
use pingora_core::{Error, ErrorSource, ErrorType, RetryType};
use pingora_proxy::Session;

use super::CONNECTION_LIMIT;
use crate::backend::{Failure, Outcome};
use crate::config::RetryOn;

/// Says of pingora's error that a backend which is to be asked in HTTP/2 alone does not speak it.
pub(crate) const NOT_HTTP2: ErrorType = ErrorType::Custom("NotHttp2");

/// A connection that was closed while it was kept shows it within a round trip. Later, the backend has seen the request.
const STALE_WITHIN: Duration = Duration::from_millis(250);

/// What has become of a request by the time that an attempt of it has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Some of the response has gone to the client.
    pub response_started: bool,
    /// All that came of the body so far can be sent again.
    pub body_kept: bool,
}

impl Broken {
    /// What has become of the request of this session.
    pub fn of(session: &Session) -> Self {
        Broken { response_started: response_started(session), body_kept: !session.as_ref().retry_buffer_truncated() }
    }
}

/// Whether the client has the header of its answer, or a tunnel in its place.
pub(crate) fn response_started(session: &Session) -> bool {
    let begins = |status: StatusCode| !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS;
    session.response_written().is_some_and(|response| begins(response.status))
}

/// Whether it has become a tunnel: what passes through a WebSocket is no body. To have asked for one is not enough, since what then
/// comes may be one all the same.
pub(crate) fn is_tunnel(session: &Session) -> bool {
    session.response_written().is_some_and(|response| response.status == StatusCode::SWITCHING_PROTOCOLS)
}

/// Whether the backend has reset the stream or closed the connection, in HTTP/2.
pub(crate) fn ended_by_backend(error: &Error) -> bool {
    let h2 = (error.etype == ErrorType::H2Error).then(|| error.root_cause().downcast_ref::<h2::Error>()).flatten();
    h2.is_some_and(|e| e.is_remote() || e.is_io())
}

/// What went wrong with an attempt, as `retry.on` tells it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
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
    /// It answered what is no HTTP.
    Protocol,
    /// The fault is not the backend's.
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
    /// What an error of connecting is, as pingora's `fail_to_connect` gets it: [`Trouble::Other`] where the pool's own
    /// `max_connections` was met, which another attempt would meet, too.
    pub fn of_connect(error: &Error) -> Self {
        if error.etype == CONNECTION_LIMIT { Trouble::Other } else { Trouble::Connect }
    }

    /// What an error on a connection is, as pingora's `error_while_proxy` gets it.
    pub fn of(error: &Error) -> Self {
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
            _ if ended_by_backend(error) => Trouble::Reset,
            ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError => Trouble::Reset,
            ErrorType::ReadTimedout | ErrorType::WriteTimedout => Trouble::Timeout,
            _ => Trouble::Protocol,
        }
    }

    /// What it says of the backend, for [`Lease::report`](crate::backend::Lease::report).
    pub fn outcome(self) -> Outcome {
        match self {
            Trouble::Connect => Outcome::Failed(Failure::Connect),
            Trouble::Timeout => Outcome::Failed(Failure::Timeout),
            Trouble::RefusedStream | Trouble::Reset | Trouble::Protocol => Outcome::Failed(Failure::Broken),
            Trouble::Status(status) => Failure::of_status(status).map_or(Outcome::Succeeded, Outcome::Failed),
            // Which of them are the backend's fault is for who speaks gRPC to say.
            Trouble::Call(_) | Trouble::Other => Outcome::Cancelled,
        }
    }

    /// Whether no backend has seen the request.
    pub fn unseen(self) -> bool {
        matches!(self, Trouble::Connect | Trouble::RefusedStream)
    }

    /// Whether the pool's [`Retry::on`](crate::config::Retry::on) wants another attempt after it.
    pub fn wanted(self, on: &RetryOn) -> bool {
        match self {
            Trouble::Connect => on.connect,
            Trouble::RefusedStream => on.refused_stream,
            Trouble::Reset => on.reset,
            Trouble::Timeout => on.timeout,
            Trouble::Status(status) => on.statuses.contains(&status),
            Trouble::Call(status) => on.calls.contains(&status),
            Trouble::Protocol | Trouble::Other => false,
        }
    }

    /// Whether the request may go to another backend: nobody has seen it, or doing it twice is the same as doing it once (RFC
    /// 9110, 9.2.2), or the configuration says that it does not mind. A POST whose bytes were sent is not sent again: the
    /// backend may have acted on it before it broke off. A call of gRPC is always a POST: whoever names its statuses in `retry.on`
    /// has said that it does not mind. `non_idempotent` is the pool's [`Retry::non_idempotent`](crate::config::Retry::non_idempotent).
    pub fn allows(self, method: &Method, non_idempotent: bool, broken: &Broken) -> bool {
        let harmless = self.unseen() || matches!(self, Trouble::Call(_)) || method.is_idempotent() || non_idempotent;
        harmless && !broken.response_started && broken.body_kept
    }
}

/// Whether the backend had closed a kept connection before the request got there, as this error shows that came so long `after`
/// the beginning of the attempt: nobody's fault, and no sign of its health. Another attempt costs nobody anything, and may go to
/// the same backend, on a connection of its own: others that are kept may be stale, too.
pub fn stale(error: &Error, reused: bool, after: Duration, broken: &Broken) -> bool {
    reused && after <= STALE_WITHIN && !broken.response_started && Trouble::of(error) == Trouble::Reset
}

/// How long a response asks to wait before the next request (RFC 9110, 10.2.3).
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    retry_after_at(headers, Utc::now())
}

/// The same at this time.
pub(crate) fn retry_after_at(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
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
            (Error::new_up(ErrorType::InvalidHTTPHeader), Trouble::Protocol),
            (Error::new_up(ErrorType::H2Error), Trouble::Protocol),
            (refused(), Trouble::RefusedStream),
            (Error::new_down(ErrorType::ConnectionClosed), Trouble::Other),
        ] {
            assert_eq!(Trouble::of(&error), trouble, "{error}");
        }
    }

    #[test]
    fn what_a_limit_of_ours_forbids_is_nobodys_fault() {
        let of = |kind| Trouble::of_connect(&Error::new_up(kind));
        assert_eq!(of(ErrorType::ConnectRefused).outcome(), Outcome::Failed(Failure::Connect));
        assert_eq!(of(CONNECTION_LIMIT).outcome(), Outcome::Cancelled);
        assert_eq!(Trouble::Status(503).outcome(), Outcome::Failed(Failure::Gateway));
        assert_eq!(Trouble::Status(404).outcome(), Outcome::Succeeded);
    }

    #[test]
    fn a_kept_connection_that_was_closed_shows_it_soon() {
        let closed = Error::new_up(ErrorType::ConnectionClosed);
        assert!(stale(&closed, true, STALE_WITHIN, &FRESH));
        assert!(!stale(&closed, true, STALE_WITHIN * 2, &FRESH));
        assert!(!stale(&closed, false, Duration::ZERO, &FRESH));
        assert!(!stale(&closed, true, Duration::ZERO, &Broken { response_started: true, ..FRESH }));
        assert!(!stale(&Error::new_up(ErrorType::ReadTimedout), true, Duration::ZERO, &FRESH));
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
            assert_eq!(retry_after_at(&headers, now), pause.map(Duration::from_secs), "{text}");
        }
        assert_eq!(retry_after_at(&HeaderMap::new(), now), None);
    }
}
