//! What is left of a request's time, told to its backend.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName};
use pingora::http::RequestHeader;
use pingora_core::Result;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// How long the client gives the request: the `grpc-timeout` of a gRPC call.
pub(super) fn given(headers: &HeaderMap) -> Option<Duration> {
    if !is_grpc(headers) {
        return None;
    }
    parse(headers.get(GRPC_TIMEOUT)?.to_str().ok()?)
}

/// Tell the backend in `header`, or as gRPC has it, that the request has `left` to go.
pub(super) fn tell(request: &mut RequestHeader, header: &HeaderName, left: Duration) -> Result<()> {
    if *header == GRPC_TIMEOUT || is_grpc(&request.headers) {
        return request.insert_header(GRPC_TIMEOUT, written(left));
    }
    request.insert_header(header, left.as_millis().to_string())
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Up to eight digits and a unit (gRPC over HTTP/2, Timeout).
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// In the finest unit whose number has no more than eight digits.
fn written(left: Duration) -> String {
    const DIGITS: u128 = 99_999_999;
    match left.as_millis() {
        millis @ ..=DIGITS => format!("{millis}m"),
        _ => format!("{}S", u128::from(left.as_secs()).min(DIGITS)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(timeout: &str) -> RequestHeader {
        let mut request = RequestHeader::build("POST", b"/pkg.Service/Method", None).unwrap();
        request.insert_header(CONTENT_TYPE, "application/grpc+proto").unwrap();
        request.insert_header(GRPC_TIMEOUT, timeout).unwrap();
        request
    }

    #[test]
    fn a_call_says_how_long_it_may_take() {
        for (text, millis) in [
            ("1H", Some(3_600_000)),
            ("2M", Some(120_000)),
            ("3S", Some(3000)),
            ("250m", Some(250)),
            ("99999999u", Some(99_999)),
            ("5000000n", Some(5)),
            ("", None),
            ("5", None),
            ("S", None),
            ("123456789m", None),
            ("+5S", None),
            ("5é", None),
        ] {
            assert_eq!(given(&call(text).headers).map(|given| given.as_millis()), millis, "{text:?}");
        }
        let mut other = call("1S");
        other.insert_header(CONTENT_TYPE, "text/plain").unwrap();
        assert_eq!(given(&other.headers), None, "only gRPC means this by it");
    }

    #[test]
    fn what_is_left_is_told_in_the_form_of_who_is_asked() {
        let header = HeaderName::from_static("x-request-timeout-ms");
        let left = Duration::from_micros(1_234_567);
        let mut plain = RequestHeader::build("GET", b"/", None).unwrap();
        tell(&mut plain, &header, left).unwrap();
        assert_eq!(plain.headers[&header], "1234");
        let mut grpc = call("9S");
        tell(&mut grpc, &header, left).unwrap();
        assert_eq!((&grpc.headers[GRPC_TIMEOUT], grpc.headers.get(&header)), (&"1234m".parse().unwrap(), None));
        tell(&mut grpc, &header, Duration::from_secs(365 * 24 * 3600)).unwrap();
        assert_eq!(grpc.headers[GRPC_TIMEOUT], "31536000S");
    }
}
