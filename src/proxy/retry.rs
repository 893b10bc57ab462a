//! Whether a request may be sent again.

use http::Method;
use pingora_core::{Error, ErrorSource, ErrorType};

/// What is known when an attempt has failed on a connection.
pub(super) struct Broken {
    /// Some of the response has gone to the client.
    pub(super) response_started: bool,
    /// All that came of the body so far can be sent again.
    pub(super) body_kept: bool,
}

/// Whether the backend had closed a kept connection before the request got there: nobody's fault, and no sign of its health.
pub(super) fn stale(error: &Error, reused: bool) -> bool {
    reused && is_break(error)
}

/// Whether the request may go to another backend: the connection broke before the response began, and doing it twice is
/// the same as doing it once (RFC 9110, 9.2.2). A POST whose bytes were sent is never sent again: the backend may have
/// acted on it before it broke off.
pub(super) fn may_send_again(method: &Method, error: &Error, broken: &Broken) -> bool {
    is_break(error) && !broken.response_started && broken.body_kept && method.is_idempotent()
}

/// Whether the backend's connection broke, as opposed to a backend that is slow or answers nonsense.
fn is_break(error: &Error) -> bool {
    let kind = matches!(error.etype, ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError);
    kind && error.esource == ErrorSource::Upstream
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Broken = Broken { response_started: false, body_kept: true };

    #[test]
    fn only_what_is_the_same_done_twice_is_sent_again() {
        let closed = Error::new_up(ErrorType::ConnectionClosed);
        for (method, again) in [
            (Method::GET, true),
            (Method::HEAD, true),
            (Method::OPTIONS, true),
            (Method::PUT, true),
            (Method::DELETE, true),
            (Method::POST, false),
            (Method::PATCH, false),
        ] {
            assert_eq!(may_send_again(&method, &closed, &FRESH), again, "{method}");
        }
    }

    #[test]
    fn never_once_the_response_began_or_the_body_is_gone() {
        let closed = Error::new_up(ErrorType::ReadError);
        let started = Broken { response_started: true, ..FRESH };
        let gone = Broken { body_kept: false, ..FRESH };
        assert!(!may_send_again(&Method::GET, &closed, &started));
        assert!(!may_send_again(&Method::PUT, &closed, &gone));
    }

    #[test]
    fn not_for_a_slow_backend_nor_for_a_client_that_left() {
        assert!(!may_send_again(&Method::GET, &Error::new_up(ErrorType::ReadTimedout), &FRESH));
        assert!(!may_send_again(&Method::GET, &Error::new_down(ErrorType::ConnectionClosed), &FRESH));
    }
}
