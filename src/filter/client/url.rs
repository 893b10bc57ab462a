//! A URL that a filter asks.

use http::Uri;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// `http` or `https`, a host, perhaps a port, and what to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::filter) struct Url {
    pub(super) https: bool,
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
    /// As it stands in `Host`.
    pub(super) authority: String,
    /// Path and query.
    pub(super) path: String,
}

impl Url {
    /// For messages: without a query.
    pub(super) fn shown(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority, self.path.split('?').next().unwrap_or_default())
    }

    pub(in crate::filter) fn is_https(&self) -> bool {
        self.https
    }
}

impl<'de> Deserialize<'de> for Url {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // Not its text: one with a password in it is wrong, too.
        parse(&text).map_err(D::Error::custom)
    }
}

fn parse(text: &str) -> Result<Url, &'static str> {
    const FORM: &str = "must be a URL, like http://127.0.0.1:9091/verify";
    let uri: Uri = text.parse().map_err(|_| FORM)?;
    let https = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(FORM),
    };
    let authority = uri.authority().ok_or(FORM)?;
    if authority.as_str().contains('@') {
        return Err("must have no user and no password in it");
    }
    let host = authority.host();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let has_port = authority.as_str().len() > authority.host().len();
    if host.is_empty() || has_port && authority.port_u16().is_none() {
        return Err(FORM);
    }
    Ok(Url {
        https,
        host: host.to_owned(),
        port: authority.port_u16().unwrap_or(if https { 443 } else { 80 }),
        authority: authority.as_str().to_owned(),
        path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_says() {
        let url = parse("https://[::1]:8443/keys?token=secret").unwrap();
        assert_eq!((url.https, &*url.host, url.port), (true, "::1", 8443));
        assert_eq!((&*url.authority, &*url.path), ("[::1]:8443", "/keys?token=secret"));
        assert_eq!(url.shown(), "https://[::1]:8443/keys");
        assert_eq!(parse("http://auth").unwrap().path, "/");
        assert_eq!((parse("http://auth").unwrap().port, parse("https://auth").unwrap().port), (80, 443));
        for wrong in ["auth", "/verify", "ftp://auth/", "http://", "http://a:b@auth/", "http://auth:port/", "unix:/a"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
