//! What of a request a route may ask, and the parts that are found in it by their names. Nothing is copied.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::COOKIE;
use http::{HeaderMap, Method};
use percent_encoding::percent_decode;

/// A request, as far as routes look at it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Without port, in any case.
    pub host: &'a str,
    /// Without query.
    pub path: &'a str,
    /// What is behind the `?`.
    pub query: Option<&'a str>,
    /// GET and the like.
    pub method: &'a Method,
    /// All of them.
    pub headers: &'a HeaderMap,
    /// Who asks, if that is known.
    pub client: Option<IpAddr>,
}

impl<'a> Asked<'a> {
    /// A GET of nothing but this.
    pub fn get(host: &'a str, path: &'a str, headers: &'a HeaderMap) -> Self {
        Asked { host, path, query: None, method: &Method::GET, headers, client: None }
    }
}

/// The values of all cookies of this name: another application may have set one for a path of its own.
pub fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|header| header.as_bytes().split(|byte| *byte == b';'));
    values_of(pairs.map(<[u8]>::trim_ascii), name)
}

/// The value of the first parameter of this name, both as they were sent.
pub fn parameter<'a>(query: &'a str, name: &'a str) -> Option<&'a [u8]> {
    values_of(query.as_bytes().split(|byte| *byte == b'&'), name).next()
}

fn values_of<'a>(pairs: impl Iterator<Item = &'a [u8]>, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    pairs.filter_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// The values of all parameters of this name, decoded as those of a form are. One without `=` has an empty value.
pub(super) fn parameters<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = Cow<'a, [u8]>> {
    query.as_bytes().split(|byte| *byte == b'&').filter_map(move |pair| {
        let equals = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        let (key, value) = pair.split_at(equals);
        (*decoded(key) == *name.as_bytes()).then(|| decoded(value.get(1..).unwrap_or_default()))
    })
}

fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', text).is_none() {
        return Cow::Borrowed(text);
    }
    let spaces: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    Cow::Owned(percent_decode(&spaces).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_compared_decoded() {
        let of = |query: &'static str, name: &'static str| -> Vec<String> {
            parameters(query, name).map(|value| String::from_utf8(value.into_owned()).unwrap()).collect()
        };
        assert_eq!(of("a=1&b=2&a=%33", "a"), ["1", "3"]);
        assert_eq!(of("a&%61=x+y%2Bz&ab=1", "a"), ["", "x y+z"]);
        assert_eq!(of("", "a"), [""; 0]);
        assert_eq!(of("a=b=c&=&&%", "a"), ["b=c"]);
    }
}
