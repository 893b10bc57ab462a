//! The redirect of a route: where the client is sent, made of where it was going.
//!
//! A `Location` without scheme, host and port is relative: so it is right whatever stands in front of us. With one of them it
//! is whole, and what is not named is the request's.

use http::header::LOCATION;
use pingora::http::RequestHeader;
use pingora_core::Result;
use pingora_proxy::Session;

use super::exchange::Exchange;
use super::redirect::{came_by_tls, host_and_port};
use super::rewrite::replaced;
use crate::config::RouteRedirect;
use crate::filter::Answer;
use crate::reason::Reason;

impl Exchange {
    /// Answer with the redirect of the route.
    pub(super) async fn send_elsewhere(&mut self, session: &mut Session, to: &RouteRedirect) -> Result<bool> {
        let tls = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
        let header = session.req_header();
        let tls = tls || self.ctx.trusted && came_by_tls(&header.headers);
        let Some(location) = location(header, tls, to) else { return self.refuse(session, Reason::BadRequest).await };
        Answer::new(to.status)?.header(LOCATION, location)?.send(session, &mut self.ctx).await
    }
}

/// `None` if it is to have the request's host, and that has none.
fn location(request: &RequestHeader, tls: bool, to: &RouteRedirect) -> Option<String> {
    let old = request.uri.path();
    let old = if old.starts_with('/') { old } else { "/" };
    let path = to.path.as_ref().map(|new| replaced(new, old));
    let mut rest = path.as_deref().unwrap_or(old).to_owned();
    if let Some(query) = request.uri.query() {
        rest.push('?');
        rest.push_str(query);
    }
    if to.scheme.is_none() && to.host.is_none() && to.port.is_none() {
        // `//evil.example` would be a host, and `/\evil.example` to browsers as well.
        return Some(format!("/{}", rest.trim_start_matches(['/', '\\'])));
    }
    let scheme = to.scheme.unwrap_or(if tls { "https" } else { "http" });
    let (host, port) = match &to.host {
        Some(host) => (host.as_str(), None),
        None => host_and_port(request)?,
    };
    // The port that the client has named is one of its host and its scheme.
    let port = to.port.or(port.filter(|_| to.scheme.is_none()));
    let usual = if scheme == "https" { 443 } else { 80 };
    Some(match port.filter(|port| *port != usual) {
        Some(port) => format!("{scheme}://{host}:{port}{rest}"),
        None => format!("{scheme}://{host}{rest}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NewPath;

    const STAY: RouteRedirect = RouteRedirect { scheme: None, host: None, port: None, path: None, status: 302 };

    fn to(target: &str, host: &str, tls: bool, to: &RouteRedirect) -> Option<String> {
        let mut request = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
        request.insert_header("host", host).unwrap();
        location(&request, tls, to)
    }

    #[test]
    fn what_is_not_named_is_the_requests() {
        let host = || Some("new.example".to_owned());
        let https = RouteRedirect { scheme: Some("https"), ..STAY };
        assert_eq!(to("/a?b=c", "a.example:8080", false, &https).unwrap(), "https://a.example/a?b=c");
        let port = RouteRedirect { port: Some(8443), ..STAY };
        assert_eq!(to("/a", "a.example:8080", true, &port).unwrap(), "https://a.example:8443/a");
        assert_eq!(to("/a", "[::1]:80", false, &port).unwrap(), "http://[::1]:8443/a");
        let elsewhere = RouteRedirect { host: host(), ..STAY };
        assert_eq!(to("/a", "a.example:8080", true, &elsewhere).unwrap(), "https://new.example/a");
        let usual = RouteRedirect { host: host(), scheme: Some("http"), port: Some(80), ..STAY };
        assert_eq!(to("/a", "a.example", true, &usual).unwrap(), "http://new.example/a");
        assert_eq!(to("*", "a.example", true, &usual).unwrap(), "http://new.example/");
        assert_eq!(to("/a", "a@b", false, &https), None);
    }

    #[test]
    fn only_another_path_is_relative() {
        let path = RouteRedirect { path: Some(NewPath::Full("/new".into())), ..STAY };
        assert_eq!(to("/a?b", "a.example:8080", false, &path).unwrap(), "/new?b");
        let prefix =
            RouteRedirect { path: Some(NewPath::Prefix { with: String::new(), matched: "/old".into() }), ..STAY };
        for (target, location) in [
            ("/old/a", "/a"),
            ("/old", "/"),
            ("/old//evil.example/%2f..", "/evil.example/%2f.."),
            ("/old/\\evil.example", "/evil.example"),
            ("/old///", "/"),
            ("/old/?//x", "/?//x"),
        ] {
            assert_eq!(to(target, "a.example", false, &prefix).unwrap(), location, "{target}");
        }
    }
}
