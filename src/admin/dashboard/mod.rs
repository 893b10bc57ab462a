//! A page for people, of three files that are part of the program. It asks the same addresses as everybody.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::Page;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Nothing of the page is from elsewhere, and nobody may put it into a page of their own.
pub(super) const GUARDS: [(HeaderName, HeaderValue); 3] = [
    (
        http::header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ),
    (http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (http::header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

/// One of its files. The first is for whoever reads HTML; others get the list of pages at the same address.
pub(super) fn page(path: &str, headers: &HeaderMap) -> Option<Page> {
    let (kind, text) = match path {
        "/" if reads_html(headers) => (HTML, include_str!("index.html")),
        "/dashboard.css" => (CSS, include_str!("dashboard.css")),
        "/dashboard.js" => (SCRIPT, include_str!("dashboard.js")),
        _ => return None,
    };
    Some((http::StatusCode::OK, kind, text.as_bytes().to_vec()))
}

fn reads_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(http::header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|kind| kind.trim_start().starts_with("text/html"))
}
