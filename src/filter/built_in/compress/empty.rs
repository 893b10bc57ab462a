//! Responses that turn out to have no body.
//!
//! Over HTTP/2 a response may end with its header, and pingora says so after the last hook, to its modules alone. A response that
//! is being compressed, and no other, gets one: nothing is no gzip, and there are clients that say so.

use std::any::Any;
use std::sync::LazyLock;

use async_trait::async_trait;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING};
use pingora::http::ResponseHeader;
use pingora_core::Result;
use pingora_core::modules::http::{HttpModule, HttpModuleBuilder, HttpModules, Module};
use pingora_proxy::Session;

/// Takes the coding away again.
struct Uncoded;

#[async_trait]
impl HttpModule for Uncoded {
    async fn response_header_filter(&mut self, response: &mut ResponseHeader, ends: bool) -> Result<()> {
        if !ends || response.status == StatusCode::NO_CONTENT {
            return Ok(());
        }
        response.remove_header(&CONTENT_ENCODING);
        response.remove_header(&TRANSFER_ENCODING);
        response.insert_header(CONTENT_LENGTH, 0)
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
        Box::new(Uncoded)
    }
}

/// Have the response say that it is empty and not coded, if it ends with its header.
pub(super) fn unless_empty(session: &mut Session) {
    static MODULES: LazyLock<HttpModules> = LazyLock::new(|| {
        let mut modules = HttpModules::new();
        modules.add_module(Box::new(Build));
        modules
    });
    session.downstream_modules_ctx = MODULES.build_ctx();
}
