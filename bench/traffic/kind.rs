//! A word for what went wrong.

use std::error::Error;
use std::io;

pub(crate) fn of_connecting(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connect reset".to_owned(),
        kind => format!("connect {kind:?}"),
    }
}

pub(crate) fn of_io(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => "reset",
        _ => "closed",
    }
}

/// Of a request whose answer had not begun.
pub(crate) fn of_request(error: &hyper::Error) -> String {
    if let Some(error) = cause::<h2::Error>(error) {
        return of_h2(error);
    }
    match cause::<io::Error>(error) {
        Some(error) => of_io(error).to_owned(),
        None if error.is_parse() => "malformed".to_owned(),
        // Anything else is an end of the connection before that of the answer's header.
        None => "closed".to_owned(),
    }
}

/// Of an answer that had begun.
pub(crate) fn of_body(error: &hyper::Error) -> String {
    match cause::<h2::Error>(error) {
        Some(error) => of_h2(error),
        None if cause::<io::Error>(error).is_some_and(|error| of_io(error) == "reset") => {
            "reset in the body".to_owned()
        }
        None => "cut in the body".to_owned(),
    }
}

fn of_h2(error: &h2::Error) -> String {
    match error.reason() {
        Some(reason) if error.is_go_away() => format!("GOAWAY {reason:?}"),
        Some(reason) => format!("stream {reason:?}"),
        None => error.get_io().map_or("closed", of_io).to_owned(),
    }
}

/// Whether HTTP/2 says that nothing was done with the request (RFC 9113, section 8.7).
pub(crate) fn is_refused(error: &hyper::Error) -> bool {
    cause::<h2::Error>(error).is_some_and(|error| {
        let reason = error.reason();
        reason == Some(h2::Reason::REFUSED_STREAM)
            || (error.is_go_away() && error.is_remote() && reason == Some(h2::Reason::NO_ERROR))
    })
}

fn cause<E: Error + 'static>(error: &hyper::Error) -> Option<&E> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}
