//! The target of a request, brought into its one form.

use http::header::HOST;
use http::{Method, Uri};
use pingora::http::RequestHeader;

use super::request::is_authority;
use crate::config::normal_path;
use crate::reason::Reason;

/// Bring the target into its one form, by which it is routed and with which it is forwarded: a path with its query, or the
/// asterisk of OPTIONS. `GET http://host/path` is `GET /path`, with the host in `Host`.
///
/// # Errors
/// The reason of a refusal: it is no such target, or one that readers disagree on.
pub(super) fn simplify(request: &mut RequestHeader, normalize: bool) -> Result<(), Reason> {
    // What is not UTF-8 pingora routes in another form than it forwards it in.
    if !request.raw_path_is_utf8() {
        return Err(Reason::BadRequest);
    }
    let target = request.raw_path();
    let is_path = target.first() == Some(&b'/');
    if target == b"*" && request.method == Method::OPTIONS {
        return Ok(());
    }
    let named = if is_path { None } else { Some(host_in(target).ok_or(Reason::BadRequest)?) };
    let form = match normalize {
        true => normal_path(request.uri.path()).map_err(|_| Reason::BadRequest)?,
        false => None,
    };
    if let (Some(named), false) = (named, request.headers.contains_key(HOST)) {
        request.insert_header(HOST, named).map_err(|_| Reason::BadRequest)?;
    }
    if is_path && form.is_none() {
        return Ok(());
    }
    let uri = with_path(&request.uri, form.as_deref()).ok_or(Reason::BadRequest)?;
    request.set_uri(uri);
    Ok(())
}

/// The host of an absolute target.
fn host_in(target: &[u8]) -> Option<String> {
    let (scheme, rest) = std::str::from_utf8(target).ok()?.split_once("://")?;
    let known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let host = rest.split(['/', '?', '#']).next()?;
    (known && is_authority(host)).then(|| host.to_owned())
}

/// The same but for its path; with its query. `None` if that is no target.
pub(super) fn with_path(uri: &Uri, path: Option<&str>) -> Option<Uri> {
    let path = path.unwrap_or_else(|| uri.path());
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}").parse(),
        None => path.parse(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target.ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_one_form() {
        for (method, target, form) in [
            ("GET", "/a?b=/../c%zz", Some("/a?b=/../c%zz")),
            ("GET", "/a/../b?c", Some("/b?c")),
            ("GET", "http://example.com/a?b=c", Some("/a?b=c")),
            ("GET", "HTTP://example.com/%2e/a", Some("/a")),
            ("GET", "http://example.com", Some("/")),
            ("GET", "http://example.com?b", Some("/?b")),
            ("OPTIONS", "*", Some("*")),
            ("GET", "*", None),
            ("GET", "ftp://example.com/", None),
            ("GET", "http:///a", None),
            ("GET", "http:/a", None),
            ("GET", "example.com:80", None),
            ("GET", "?a", None),
            ("GET", "a", None),
            ("GET", "/a/../../b", None),
        ] {
            let mut request = RequestHeader::build(method, target.as_bytes(), None).unwrap();
            let simplified = simplify(&mut request, true);
            let found = simplified.is_ok().then(|| String::from_utf8(request.raw_path().to_vec()).unwrap());
            assert_eq!(found.as_deref(), form, "{method} {target}");
        }
        let mut request = RequestHeader::build("GET", b"/a/../../b", None).unwrap();
        assert_eq!(simplify(&mut request, false), Ok(()));
        assert_eq!(request.raw_path(), b"/a/../../b");
    }

    #[test]
    fn in_http2_the_path_changes_and_nothing_else() {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        request.set_uri("https://example.com:8443/a/./b?c".parse().unwrap());
        simplify(&mut request, true).unwrap();
        assert_eq!(request.uri, "https://example.com:8443/a/b?c");
    }
}
