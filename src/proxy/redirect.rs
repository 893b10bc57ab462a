//! `redirect_to_https`: clients are sent to the same place by TLS.
//!
//! All but those of a certificate authority that wants to see a token in plain HTTP (RFC 8555, 8.3), and of a trusted proxy
//! that has spoken TLS itself: those would come back for ever.

use http::header::LOCATION;
use http::{HeaderMap, Method};
use pingora::http::RequestHeader;
use pingora_core::Result;
use pingora_proxy::Session;

use super::exchange::Exchange;
use crate::config::Redirect;
use crate::filter::{Answer, authority};
use crate::reason::Reason;
use crate::terms::Terms;

const CHALLENGE: &str = "/.well-known/acme-challenge/";

impl Exchange {
    /// Note what the client has shown, and send it to HTTPS, if its listener wants that. `true` if it has its answer.
    pub(super) async fn keep_terms(&mut self, session: &mut Session) -> Result<bool> {
        let Some(terms) = Terms::current() else { return Ok(false) };
        self.ctx.client_certificate.clone_from(&terms.client_certificate);
        match terms.redirect {
            Some(redirect) => self.redirect(session, redirect).await,
            None => Ok(false),
        }
    }

    async fn redirect(&mut self, session: &mut Session, redirect: Redirect) -> Result<bool> {
        let header = session.req_header();
        if is_challenge(header) || self.ctx.trusted && came_by_tls(&header.headers) {
            return Ok(false);
        }
        let Some(to) = location(header, redirect) else { return self.refuse(session, Reason::BadRequest).await };
        Answer::new(redirect.status)?.header(LOCATION, to)?.send(session, &mut self.ctx).await
    }
}

/// Whether an authority may be looking for its token. Nothing else passes: no dots, no slashes.
fn is_challenge(request: &RequestHeader) -> bool {
    let token = request.uri.path().strip_prefix(CHALLENGE).unwrap_or_default();
    let reads = request.method == Method::GET || request.method == Method::HEAD;
    reads && !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Whether a proxy in front of us says so.
pub(super) fn came_by_tls(headers: &HeaderMap) -> bool {
    let proto = headers.get("x-forwarded-proto").map(|proto| proto.as_bytes());
    proto.is_some_and(|proto| proto.eq_ignore_ascii_case(b"https"))
}

/// The same place by TLS. `None` if the request does not say which host it is for.
fn location(request: &RequestHeader, redirect: Redirect) -> Option<String> {
    let (host, _) = host_and_port(request)?;
    let path = request.uri.path_and_query().map_or("/", |path| path.as_str());
    let path = if path.starts_with('/') { path } else { "/" };
    match redirect.port {
        Redirect::PORT => Some(format!("https://{host}{path}")),
        port => Some(format!("https://{host}:{port}{path}")),
    }
}

/// The host that a request names, and its port. `None` if it names none that could stand in a `Location`.
pub(super) fn host_and_port(request: &RequestHeader) -> Option<(&str, Option<u16>)> {
    let authority = authority(request)?;
    let split = authority.rsplit_once(':').filter(|(host, port)| {
        // The colons of an IPv6 address are within brackets, or it is none. A port may be empty (RFC 3986, 3.2.3).
        port.bytes().all(|b| b.is_ascii_digit()) && (!host.contains(':') || host.ends_with(']'))
    });
    let (host, port) = split.map_or((authority, None), |(host, port)| (host, port.parse().ok()));
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    (!host.is_empty() && host.bytes().all(allowed)).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, target: &str, host: Option<&str>) -> RequestHeader {
        let mut request = RequestHeader::build(method, target.as_bytes(), None).unwrap();
        if let Some(host) = host {
            request.insert_header("host", host).unwrap();
        }
        request
    }

    #[test]
    fn the_place_is_the_same_but_for_the_port() {
        let to = |port, target, host| location(&request("GET", target, host), Redirect { port, status: 308 });
        assert_eq!(to(443, "/a?b=c", Some("example.com")).unwrap(), "https://example.com/a?b=c");
        assert_eq!(to(443, "/", Some("example.com:8080")).unwrap(), "https://example.com/");
        assert_eq!(to(8443, "//evil", Some("[::1]:80")).unwrap(), "https://[::1]:8443//evil");
        assert_eq!(to(443, "/", Some("[::1]")).unwrap(), "https://[::1]/");
        assert_eq!(to(8443, "/", Some("a:")).unwrap(), "https://a:8443/");
        assert_eq!(to(443, "/", Some("a:99999")).unwrap(), "https://a/");
        assert_eq!(to(443, "*", Some("a")).unwrap(), "https://a/");
        assert_eq!(to(443, "http://a/b", Some("a")).unwrap(), "https://a/b");
        for host in [None, Some(""), Some("a@b"), Some("a/b"), Some("a b"), Some(":80"), Some("a\"")] {
            assert_eq!(to(443, "/", host), None, "{host:?}");
        }
    }

    #[test]
    fn only_a_token_passes() {
        let passes = |method, path: &str| is_challenge(&request(method, &format!("{CHALLENGE}{path}"), None));
        assert!(passes("GET", "abc-DEF_1") && passes("HEAD", "a") && passes("GET", "a?b"));
        for path in ["", "a/b", "..", "../admin", "%2e%2e/admin", "a.b"] {
            assert!(!passes("GET", path), "{path}");
        }
        assert!(!passes("POST", "a"));
    }
}
