//! Clients of HTTP/1.0 and backends of HTTP/2.
//!
//! What has no length in HTTP/2 pingora sends in chunks, which HTTP/1.0 does not know, and says so after the last hook. Such a
//! request, and no other, gets a look at that.

use std::sync::LazyLock;

use http::Version;
use http::header::TRANSFER_ENCODING;
use pingora::http::ResponseHeader;
use pingora_core::Result;
use pingora_core::modules::http::HttpModules;
use pingora_proxy::Session;

use crate::filter::last_look;

/// An HTTP/1.0 client knows no chunks: the end of its connection is the end of the body.
pub(super) fn until_closed(session: &mut Session, response: &mut ResponseHeader) {
    if session.req_header().version == Version::HTTP_10 && response.headers.contains_key(TRANSFER_ENCODING) {
        response.remove_header(&TRANSFER_ENCODING);
        session.set_keepalive(None);
    }
}

/// Have what comes for this client end with its connection, unless it has a length.
pub(super) fn without_chunks(session: &mut Session) {
    static MODULES: LazyLock<HttpModules> = LazyLock::new(|| last_look(unchunked));
    session.downstream_modules_ctx = MODULES.build_ctx();
    session.set_keepalive(None);
}

fn unchunked(response: &mut ResponseHeader, _: bool) -> Result<()> {
    response.remove_header(&TRANSFER_ENCODING);
    Ok(())
}
