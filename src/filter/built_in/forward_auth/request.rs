//! What the service is asked: the client's header, without its body and whatever would be understood otherwise there.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{CONNECTION, COOKIE, HOST, HeaderName, HeaderValue};
use pingora::http::RequestHeader;
use pingora_core::Result;

use super::super::names::folded;

/// What belongs to the client's connection or body, makes an answer depend on what the client has already, or is ours to say.
const LEFT_OUT: [&str; 24] = [
    "accept-ranges",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-real-ip",
];

/// By these, services know for which request they are asked: of the client's own they would believe them.
const SAID_BY_US: [&str; 3] = ["x-forwarded-", "x-original-", "x-rewrite-"];

/// Who has asked on the way here, each by a number of its own.
pub(super) const ASKED_BY: &str = "x-evenkeel-asked-by";

/// What is known of the request that is asked about.
pub(super) struct About<'a> {
    pub(super) request: &'a RequestHeader,
    pub(super) scheme: &'a str,
    pub(super) client: Option<IpAddr>,
    /// Whether what it says of its client's counts.
    pub(super) trusted: bool,
    /// Names of headers that nobody behind us sees.
    pub(super) hidden: Vec<String>,
}

/// Whether a header is one of the client's that may go along.
fn goes_along(name: &HeaderName, hidden: &[String]) -> bool {
    let name = name.as_str();
    let plain = folded(name);
    !LEFT_OUT.contains(&&*plain)
        && !SAID_BY_US.iter().any(|begins| plain.starts_with(begins))
        && !hidden.iter().any(|one| one.eq_ignore_ascii_case(name))
}

/// What `Connection` says belongs to the connection.
pub(super) fn nominated(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|name| name.trim().to_owned()).collect()
}

/// Write into `asking` what the client sent, and what it sent it for. Of its headers only those in `only`, if there is a list.
///
/// # Errors
/// None: what is written is well-formed.
pub(super) fn describe(asking: &mut RequestHeader, about: &About<'_>, only: Option<&[HeaderName]>) -> Result<()> {
    let request = about.request;
    for (name, value) in &request.headers {
        let wanted = only.is_none_or(|only| only.contains(name));
        if wanted && name != COOKIE && goes_along(name, &about.hidden) {
            asking.append_header(name.clone(), value.clone())?;
        }
    }
    if only.is_none_or(|only| only.contains(&COOKIE))
        && goes_along(&COOKIE, &about.hidden)
        && let Some(cookies) = cookies(&request.headers)
    {
        asking.insert_header(COOKIE, cookies)?;
    }
    asking.insert_header("X-Forwarded-Method", request.method.as_str())?;
    let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
    asking.insert_header("X-Forwarded-Uri", target)?;
    asking.insert_header("X-Forwarded-Proto", about.scheme)?;
    if let Some(host) = host(about) {
        asking.insert_header("X-Forwarded-Host", host)?;
    }
    if let Some(client) = about.client {
        asking.insert_header("X-Forwarded-For", client.to_string())?;
    }
    Ok(())
}

/// HTTP/2 may send each by itself.
fn cookies(headers: &HeaderMap) -> Option<HeaderValue> {
    let all: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    match &all[..] {
        [] => None,
        all => HeaderValue::from_bytes(&all.join(&b"; "[..])).ok(),
    }
}

/// Whom the client wants to speak to.
fn host(about: &About<'_>) -> Option<HeaderValue> {
    let headers = &about.request.headers;
    let said = headers.get("x-forwarded-host").filter(|_| about.trusted);
    let host = said.or_else(|| headers.get(HOST)).cloned();
    host.or_else(|| HeaderValue::from_str(about.request.uri.authority()?.as_str()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(&'static str, &'static str)], only: Option<&[HeaderName]>) -> RequestHeader {
        let mut request = RequestHeader::build("POST", b"/a?b=c", None).unwrap();
        for (name, value) in headers {
            request.append_header(*name, *value).unwrap();
        }
        let mut asking = RequestHeader::build("GET", b"/verify", None).unwrap();
        asking.insert_header("Host", "auth").unwrap();
        let hidden = nominated(&request.headers);
        let about =
            About { request: &request, scheme: "https", client: "10.0.0.1".parse().ok(), trusted: false, hidden };
        describe(&mut asking, &about, only).unwrap();
        asking
    }

    #[test]
    fn a_client_says_nothing_that_is_ours_to_say() {
        let asking = asked(
            &[
                ("Host", "app"),
                ("Connection", "close, X-Mine"),
                ("X-Mine", "1"),
                ("Content-Length", "5"),
                ("Transfer-Encoding", "chunked"),
                ("X-Forwarded-For", "1.2.3.4"),
                ("X-Forwarded-User", "root"),
                ("X_Forwarded_Uri", "/public"),
                ("X.Forwarded.Uri", "/public"),
                ("X-Original-URL", "/public"),
                ("X-Rewrite-URL", "/public"),
                ("If-None-Match", "*"),
                ("Range", "bytes=0-1"),
                ("Expect", "100-continue"),
                ("Cookie", "a=1"),
                ("Cookie", "b=2"),
                ("Authorization", "Bearer x"),
            ],
            None,
        );
        let mut sent: Vec<String> =
            asking.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        sent.sort();
        assert_eq!(
            sent,
            [
                "authorization: Bearer x",
                "cookie: a=1; b=2",
                "host: auth",
                "x-forwarded-for: 10.0.0.1",
                "x-forwarded-host: app",
                "x-forwarded-method: POST",
                "x-forwarded-proto: https",
                "x-forwarded-uri: /a?b=c",
            ]
        );
    }

    #[test]
    fn with_a_list_nothing_else_goes_along() {
        let only = [HeaderName::from_static("x-key"), HeaderName::from_static("x-forwarded-for")];
        let asking = asked(&[("X-Key", "k"), ("Cookie", "a=1"), ("X-Forwarded-For", "1.2.3.4")], Some(&only));
        assert_eq!(asking.headers["x-key"], "k");
        assert!(!asking.headers.contains_key("cookie"));
        assert_eq!(asking.headers.get_all("x-forwarded-for").iter().count(), 1);
    }
}
