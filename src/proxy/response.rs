//! What a response must lose before it goes to the client.

use http::HeaderName;
use http::header::{CONNECTION, TRANSFER_ENCODING, UPGRADE};
use pingora::http::ResponseHeader;

/// Remove what is for one hop only (RFC 9110, 7.6.1). Pingora does so for requests, and writes `Connection` itself.
pub(super) fn strip_hop_by_hop(response: &mut ResponseHeader) {
    const ALWAYS: [HeaderName; 3] = [
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        http::header::PROXY_AUTHENTICATE,
    ];
    let nominated: Vec<HeaderName> = response
        .headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // These two are pingora's to write, from its own knowledge of the connection and the body.
        .filter(|name| name != UPGRADE && name != TRANSFER_ENCODING && name != CONNECTION)
        .filter(|name: &HeaderName| !matches!(name.as_str(), "close"))
        .collect();
    for name in ALWAYS.iter().chain(&nominated) {
        if response.headers.contains_key(name) {
            response.remove_header(name);
        }
    }
    if response.status.as_u16() != 101 && response.headers.contains_key(UPGRADE) {
        response.remove_header(&UPGRADE);
    }
}
