//! Errors into answers, in one place: which [`Reason`] an error is, and what the client is told.

use log::{debug, warn};
use pingora_core::protocols::http::v2::client::PING_TIMEDOUT;
use pingora_core::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::{FailToProxy, Session};

use super::connection;
use super::exchange::Exchange;
use crate::backend::Failure;
use crate::filter::{Answer, FILTER_FAILED};
use crate::pool::{CONNECTION_LIMIT, ended_by_backend, response_started};
use crate::reason::Reason;

/// Which reason an error is, and which status the client gets for it.
pub(super) fn classify(error: &Error) -> (Reason, u16) {
    if let ErrorType::HTTPStatus(status) = error.etype {
        let reason = match status {
            400 => Reason::BadRequest,
            401 => Reason::Unauthorized,
            403 => Reason::Forbidden,
            429 => Reason::RateLimited,
            413 => Reason::BodyTooLarge,
            _ => Reason::Refused,
        };
        return (reason, status);
    }
    let reason = match error.esource {
        ErrorSource::Upstream => of_broken(error),
        ErrorSource::Downstream => of_client(&error.etype),
        ErrorSource::Internal | ErrorSource::Unset => Reason::Internal,
    };
    (reason, reason.status())
}

/// Which reason a failure to connect is.
pub(super) fn of_connect(kind: &ErrorType) -> Reason {
    match kind {
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => Reason::ConnectTimeout,
        limit if *limit == CONNECTION_LIMIT => Reason::ConnectionLimit,
        _ => Reason::ConnectFailed,
    }
}

/// Which reason a failure on a backend's connection is.
pub(super) fn of_backend(kind: &ErrorType) -> Reason {
    match kind {
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Reason::BackendTimeout,
        limit if *limit == CONNECTION_LIMIT => Reason::ConnectionLimit,
        silent if *silent == PING_TIMEDOUT => Reason::BackendClosed,
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError => Reason::BackendClosed,
        ErrorType::ConnectTimedout
        | ErrorType::TLSHandshakeTimedout
        | ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError
        | ErrorType::SocketError
        | ErrorType::BindError
        | ErrorType::TLSHandshakeFailure
        | ErrorType::HandshakeError
        | ErrorType::InvalidCert => of_connect(kind),
        _ => Reason::BackendProtocol,
    }
}

/// The same, where HTTP/2 has but one kind of error for whatever goes wrong: a backend that ends a stream or a connection has said
/// so, which is no fault of its HTTP.
pub(super) fn of_broken(error: &Error) -> Reason {
    if ended_by_backend(error) { Reason::BackendClosed } else { of_backend(&error.etype) }
}

/// What a backend did wrong, by the reason that it is for the request.
pub(super) fn of_reason(reason: Reason) -> Failure {
    match reason {
        Reason::ConnectFailed | Reason::ConnectTimeout => Failure::Connect,
        Reason::BackendTimeout | Reason::RequestTimeout => Failure::Timeout,
        _ => Failure::Broken,
    }
}

fn of_client(kind: &ErrorType) -> Reason {
    match kind {
        ErrorType::ReadTimedout => Reason::ClientTimeout,
        // A client that does not take its answer has left, whether or not it closed.
        // In HTTP/2 it resets its stream.
        ErrorType::WriteTimedout
        | ErrorType::WriteError
        | ErrorType::ReadError
        | ErrorType::ConnectionClosed
        | ErrorType::H2Error => Reason::ClientGone,
        _ => Reason::BadRequest,
    }
}

impl Exchange {
    /// What was found out below pingora, where all that it is told is that the client's connection is broken.
    pub(super) fn hear_connection(&mut self, error: &mut Box<Error>) {
        if let Some(reason) = connection::refusal() {
            self.ctx.reason = Some(reason);
        } else if error.esource == ErrorSource::Downstream && connection::is_overdue() {
            *error = Error::explain(ErrorType::ReadTimedout, "no answer in time").into_up();
        }
    }

    /// The request has failed: find out why, and tell the client.
    pub(super) async fn give_up(&mut self, session: &mut Session, error: &Error) -> FailToProxy {
        // A filter that reads the body hears of it only that the connection is broken, as pingora does.
        if let (Some(reason), false) = (connection::refusal(), matches!(error.etype, ErrorType::HTTPStatus(_))) {
            self.ctx.reason.get_or_insert(reason);
        }
        let (reason, status) = match self.ctx.reason {
            Some(reason) => (reason, reason.status()),
            None => classify(error),
        };
        // Only a filter's refusal leaves the connection as it was; after any other failure pingora closes it, and must say so.
        let of_a_filter = self.ctx.reason.is_none() && self.ctx.attempt.number == 0;
        let can_reuse_downstream = of_a_filter && error.esource == ErrorSource::Unset && reason != Reason::BodyTooLarge;
        if !can_reuse_downstream {
            session.set_keepalive(None);
        }
        self.ctx.refuse(reason, status);
        if reason == Reason::Internal && error.etype != FILTER_FAILED {
            warn!("{reason}: {error}");
        }
        let error_code = self.answer(session, status, reason).await.unwrap_or_else(|e| {
            debug!("could not answer the client: {e}");
            0
        });
        FailToProxy { error_code, can_reuse_downstream }
    }

    /// Tell the client; says the status that it got, 0 if none could be sent any more.
    pub(super) async fn answer(&mut self, session: &mut Session, status: u16, reason: Reason) -> Result<u16> {
        if reason == Reason::ClientGone || response_started(session) {
            return Ok(0);
        }
        let mut told = Answer::refusal_with(status, reason)?.send(session, &mut self.ctx).await;
        if told.is_err() && !response_started(session) && self.ctx.chain.take().is_some() {
            // A filter that has failed, perhaps because of which it is refused, fails again.
            told = Answer::refusal_with(status, reason)?.send(session, &mut self.ctx).await;
        }
        told.map(|_| session.response_written().map_or(status, |response| response.status.as_u16()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_to_blame_decides_the_status() {
        let status = |error: Box<Error>| {
            let (reason, status) = classify(&error);
            (status, reason.as_str())
        };
        assert_eq!(status(Error::new_up(ErrorType::ReadTimedout)), (504, "backend_timeout"));
        assert_eq!(status(Error::new_up(ErrorType::ConnectTimedout)), (504, "connect_timeout"));
        assert_eq!(status(Error::new_up(ErrorType::ConnectRefused)), (502, "connect_failed"));
        assert_eq!(status(Error::new_up(CONNECTION_LIMIT)), (503, "connection_limit"));
        assert_eq!(status(Error::new_up(ErrorType::ConnectionClosed)), (502, "backend_closed"));
        assert_eq!(status(Error::new_up(ErrorType::InvalidHTTPHeader)), (502, "backend_protocol"));
        assert_eq!(status(Error::new_up(ErrorType::Custom("InvalidChunk"))), (502, "backend_protocol"));
        assert_eq!(status(Error::new_down(ErrorType::ReadTimedout)), (408, "client_timeout"));
        assert_eq!(status(Error::new_down(ErrorType::ConnectionClosed)), (499, "client_gone"));
        assert_eq!(status(Error::new_down(ErrorType::InvalidHTTPHeader)), (400, "bad_request"));
        assert_eq!(status(Error::new(ErrorType::HTTPStatus(403))), (403, "forbidden"));
        assert_eq!(status(Error::new_in(ErrorType::InternalError)), (500, "internal"));
    }
}
