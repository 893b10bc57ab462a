//! Responses that turn out to have no body.
//!
//! Over HTTP/2 a response may end with its header, which is said after the last hook. A response that is being compressed, and no
//! other, gets a look at that: nothing is no gzip, and there are clients that say so.

use std::sync::LazyLock;

use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING};
use pingora::http::ResponseHeader;
use pingora_core::Result;
use pingora_core::modules::http::HttpModules;
use pingora_proxy::Session;

use crate::filter::last_look;

/// Have the response say that it is empty and not coded, if it ends with its header.
pub(super) fn unless_empty(session: &mut Session) {
    static MODULES: LazyLock<HttpModules> = LazyLock::new(|| last_look(uncoded));
    session.downstream_modules_ctx = MODULES.build_ctx();
}

fn uncoded(response: &mut ResponseHeader, ends: bool) -> Result<()> {
    if !ends || response.status == StatusCode::NO_CONTENT {
        return Ok(());
    }
    response.remove_header(&CONTENT_ENCODING);
    response.remove_header(&TRANSFER_ENCODING);
    response.insert_header(CONTENT_LENGTH, 0)
}
