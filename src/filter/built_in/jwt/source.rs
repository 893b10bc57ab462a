//! Where in a request its token is, and the request without it.

use http::HeaderValue;
use http::header::{AUTHORIZATION, COOKIE};
use http::uri::{PathAndQuery, Uri};
use pingora::http::RequestHeader;
use pingora_core::{ErrorType, OrErr, Result};
use serde::Deserialize;

/// Where it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", expecting = "header, { cookie: NAME } or { query: NAME }")]
pub(super) enum From {
    /// `Authorization: Bearer TOKEN`.
    #[default]
    Header,
    Cookie(String),
    Query(String),
}

impl From {
    /// The token, if there is one, and only one.
    pub(super) fn find(&self, request: &RequestHeader) -> Option<String> {
        match self {
            From::Header => one(request.headers.get_all(AUTHORIZATION).iter().map(bearer))?.map(str::to_owned),
            From::Cookie(name) => {
                let values = cookies(request).filter_map(|pair| value_of(pair, name));
                String::from_utf8(one(values)?.to_vec()).ok()
            }
            From::Query(name) => {
                let query = request.uri.query()?;
                one(query.split('&').filter_map(|pair| pair.split_once('=').filter(|(one, _)| one == name)))
                    .map(|(_, value)| value.to_owned())
            }
        }
    }

    /// Take it away, so that the backend does not see it.
    ///
    /// # Errors
    /// None: what is left of something well-formed is so, too.
    pub(super) fn remove(&self, request: &mut RequestHeader) -> Result<()> {
        match self {
            From::Header => drop(request.remove_header(&AUTHORIZATION)),
            From::Cookie(name) if cookies(request).any(|pair| value_of(pair, name).is_some()) => {
                let left: Vec<&[u8]> = cookies(request).filter(|pair| value_of(pair, name).is_none()).collect();
                let left = left.join(&b"; "[..]);
                request.remove_header(&COOKIE);
                if !left.is_empty() {
                    request.insert_header(COOKIE, left)?;
                }
            }
            From::Cookie(_) => {}
            From::Query(name) => request.set_uri(without(&request.uri, name)?),
        }
        Ok(())
    }
}

/// The only one of them.
fn one<T>(mut all: impl Iterator<Item = T>) -> Option<T> {
    all.next().filter(|_| all.next().is_none())
}

fn bearer(line: &HeaderValue) -> Option<&str> {
    let (scheme, token) = line.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Pairs, of all lines. Bytes: browsers send what they were given, and others' cookies are none of our business.
fn cookies(request: &RequestHeader) -> impl Iterator<Item = &[u8]> {
    let lines = request.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    lines.flat_map(|line| line.split(|byte| *byte == b';')).map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty())
}

fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

fn without(uri: &Uri, name: &str) -> Result<Uri> {
    let Some(query) = uri.query() else { return Ok(uri.clone()) };
    let left: Vec<&str> = query.split('&').filter(|pair| pair.split('=').next() != Some(name)).collect();
    let target = if left.is_empty() { uri.path().to_owned() } else { format!("{}?{}", uri.path(), left.join("&")) };
    let mut parts = uri.clone().into_parts();
    let target = PathAndQuery::try_from(target).or_err(ErrorType::InvalidHTTPHeader, "a target without its token")?;
    parts.path_and_query = Some(target);
    Uri::from_parts(parts).or_err(ErrorType::InvalidHTTPHeader, "a target without its token")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &str, headers: &[(&'static str, &'static str)]) -> RequestHeader {
        let mut request = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
        for (name, value) in headers {
            request.append_header(*name, *value).unwrap();
        }
        request
    }

    #[test]
    fn one_token_is_found_and_of_two_none() {
        let header = |lines: &[&'static str]| {
            let lines: Vec<_> = lines.iter().map(|line| ("authorization", *line)).collect();
            From::Header.find(&request("/", &lines))
        };
        assert_eq!(header(&["Bearer a.b.c"]).as_deref(), Some("a.b.c"));
        assert_eq!(header(&["bEARER  a.b.c "]).as_deref(), Some("a.b.c"));
        for lines in [&[][..], &["Bearer"], &["Bearer "], &["Basic a"], &["Bearer a", "Bearer a"], &["Bearera"]] {
            assert_eq!(header(lines), None, "{lines:?}");
        }
        let cookie = From::Cookie("t".to_owned());
        assert_eq!(cookie.find(&request("/", &[("cookie", "a=1; t=x"), ("cookie", "tt=2")])).as_deref(), Some("x"));
        assert_eq!(cookie.find(&request("/", &[("cookie", "t=x; t=y")])), None);
        assert_eq!(cookie.find(&request("/", &[("cookie", "name=\u{e4}; t=x")])).as_deref(), Some("x"));
        let query = From::Query("t".to_owned());
        assert_eq!(query.find(&request("/?a&t=x&tt=y", &[])).as_deref(), Some("x"));
        for target in ["/", "/?", "/?t", "/?t=x&t=y"] {
            assert_eq!(query.find(&request(target, &[])), None, "{target}");
        }
    }

    #[test]
    fn what_is_left_is_as_it_was() {
        let cookie = From::Cookie("t".to_owned());
        for (before, after) in [
            ("a=1; t=x; b=2", Some("a=1; b=2")),
            ("t=x", None),
            ("a=1", Some("a=1")),
            ("a=1;b", Some("a=1;b")),
            ("flag; t=x; b=\u{e4}", Some("flag; b=\u{e4}")),
        ] {
            let mut request = request("/", &[("cookie", before)]);
            cookie.remove(&mut request).unwrap();
            let left = request.headers.get("cookie").map(|value| std::str::from_utf8(value.as_bytes()).unwrap());
            assert_eq!(left, after, "{before}");
        }
        for (before, after) in [("/a?b=1&t=x&c", "/a?b=1&c"), ("/a?t=x", "/a"), ("/a?tt=x", "/a?tt=x"), ("/", "/")] {
            let mut request = request(before, &[]);
            From::Query("t".to_owned()).remove(&mut request).unwrap();
            assert_eq!(request.uri.to_string(), after, "{before}");
        }
    }
}
