//! Clients of HTTP/1.0 and backends of HTTP/2.
//!
//! What has no length in HTTP/2 pingora sends in chunks, which HTTP/1.0 does not know, and says so after the last hook. One of its
//! modules comes later still; such a request, and no other, gets one.

use std::any::Any;
use std::sync::OnceLock;

use async_trait::async_trait;
use http::Version;
use http::header::TRANSFER_ENCODING;
use pingora::http::ResponseHeader;
use pingora_core::Result;
use pingora_core::modules::http::{HttpModule, HttpModuleBuilder, HttpModules, Module};
use pingora_proxy::Session;

/// Takes the chunks away again: the end of the connection is the end of the body.
struct Unchunk;

#[async_trait]
impl HttpModule for Unchunk {
    async fn response_header_filter(&mut self, response: &mut ResponseHeader, _: bool) -> Result<()> {
        response.remove_header(&TRANSFER_ENCODING);
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

struct Build;

impl HttpModuleBuilder for Build {
    fn init(&self) -> Module {
        Box::new(Unchunk)
    }
}

/// An HTTP/1.0 client knows no chunks: the end of its connection is the end of the body.
pub(super) fn until_closed(session: &mut Session, response: &mut ResponseHeader) {
    if session.req_header().version == Version::HTTP_10 && response.headers.contains_key(TRANSFER_ENCODING) {
        response.remove_header(&TRANSFER_ENCODING);
        session.set_keepalive(None);
    }
}

/// Have what comes for this client end with its connection, unless it has a length.
pub(super) fn without_chunks(session: &mut Session) {
    static MODULES: OnceLock<HttpModules> = OnceLock::new();
    let modules = MODULES.get_or_init(|| {
        let mut modules = HttpModules::new();
        modules.add_module(Box::new(Build));
        modules
    });
    session.downstream_modules_ctx = modules.build_ctx();
    session.set_keepalive(None);
}
