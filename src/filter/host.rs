//! Whom a request is for: the same in HTTP/1 and HTTP/2.

use http::header::HOST;
use http::uri::Authority;
use pingora::http::RequestHeader;

/// The host that a request is for, as the client wrote it, with its port: `Host`, or in HTTP/2 `:authority`.
pub(crate) fn authority(request: &RequestHeader) -> Option<&str> {
    match request.headers.get(HOST) {
        Some(host) => host.to_str().ok(),
        None => request.uri.authority().map(Authority::as_str),
    }
}

/// The host of an authority: without its port, and without the dot that makes a name absolute.
pub(crate) fn host_of(authority: &str) -> &str {
    let host = without_port(authority);
    host.strip_suffix('.').unwrap_or(host)
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.is_empty() => {
            // The colons of an IPv6 address without a port are its own.
            if host.contains(':') && !host.ends_with(']') { authority } else { host }
        }
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_port_is_cut_off() {
        for (authority, host) in [
            ("example.com", "example.com"),
            ("example.com.", "example.com"),
            ("example.com.:80", "example.com"),
            ("example.com:8080", "example.com"),
            ("example.com:", "example.com"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("::1", "::1"),
            (":80", ":80"),
            ("", ""),
        ] {
            assert_eq!(host_of(authority), host);
        }
    }
}
