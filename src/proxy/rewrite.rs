//! Another host and path, for a backend or in a `Location`. The client's own stay in the request as it came, which is what the
//! log, the keys of hashing and `X-Forwarded-Host` are made of.

use std::borrow::Cow;

use http::header::HOST;
use pingora::http::RequestHeader;
use pingora_core::{Error, ErrorType, Result};

use super::target::with_path;
use crate::config::{NewPath, Rewrite};

/// Change what a backend is asked.
///
/// # Errors
/// None: what the configuration lets in makes a target.
pub(super) fn apply(rewrite: &Rewrite, request: &mut RequestHeader) -> Result<()> {
    if let Some(path) = &rewrite.path
        && request.uri.path().starts_with('/')
    {
        let uri = with_path(&request.uri, Some(&replaced(path, request.uri.path())));
        request.set_uri(uri.ok_or_else(|| Error::explain(ErrorType::InternalError, "no target"))?);
    }
    if let Some(host) = &rewrite.host {
        // In HTTP/2 pingora makes `:authority` of it.
        request.insert_header(HOST, host.as_str())?;
    }
    Ok(())
}

/// The new path in place of `path`, or of its beginning. A path that a filter has changed since it was matched, and that does
/// not begin so any more, stays as it is.
pub(super) fn replaced<'a>(new: &'a NewPath, path: &'a str) -> Cow<'a, str> {
    match new {
        NewPath::Full(full) => Cow::Borrowed(full),
        NewPath::Prefix { with, matched } => match path.strip_prefix(matched.as_str()) {
            Some("") if with.is_empty() => Cow::Borrowed("/"),
            Some(rest) if rest.is_empty() || rest.starts_with('/') => Cow::Owned(format!("{with}{rest}")),
            _ => Cow::Borrowed(path),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_replaced_by_segments() {
        for (matched, with, path, expected) in [
            ("/foo", "/xyz", "/foo/bar", "/xyz/bar"),
            ("/foo", "/xyz", "/foo", "/xyz"),
            ("/foo", "/xyz", "/foo/", "/xyz/"),
            ("/foo", "", "/foo/bar", "/bar"),
            ("/foo", "", "/foo", "/"),
            ("/foo", "", "/foo/", "/"),
            ("", "/xyz", "/", "/xyz/"),
            ("", "/xyz", "/bar", "/xyz/bar"),
            ("/foo", "", "/foo//bar", "//bar"),
            ("/foo", "", "/other", "/other"),
            ("/foo", "/xyz", "/foobar", "/foobar"),
        ] {
            let new = NewPath::Prefix { with: with.to_owned(), matched: matched.to_owned() };
            assert_eq!(replaced(&new, path), expected, "{path}: {matched} by {with}");
        }
        assert_eq!(replaced(&NewPath::Full("/new".into()), "/a/b"), "/new");
    }

    #[test]
    fn the_query_stays_and_so_does_what_is_not_named() {
        let path = Some(NewPath::Prefix { with: "/v2".into(), matched: "/v1".into() });
        let mut request = RequestHeader::build("GET", b"/v1/a%20b?c=d&e", None).unwrap();
        request.insert_header(HOST, "old.example").unwrap();
        apply(&Rewrite { host: None, path: path.clone() }, &mut request).unwrap();
        assert_eq!(
            (request.raw_path(), &request.headers[HOST]),
            (&b"/v2/a%20b?c=d&e"[..], &"old.example".parse().unwrap())
        );
        apply(&Rewrite { host: Some("new.example:81".into()), path: None }, &mut request).unwrap();
        assert_eq!(
            (request.raw_path(), &request.headers[HOST]),
            (&b"/v2/a%20b?c=d&e"[..], &"new.example:81".parse().unwrap())
        );
        let mut all = RequestHeader::build("OPTIONS", b"*", None).unwrap();
        apply(&Rewrite { host: None, path }, &mut all).unwrap();
        assert_eq!(all.raw_path(), b"*", "the asterisk is no path");
    }
}
