//! A look at the header of a response after the last hook: there pingora still changes it, and tells its modules alone.
//!
//! A request has one set of modules, and most have none: who sets its look for a request takes the place of any other.

use std::any::Any;

use async_trait::async_trait;
use pingora::http::ResponseHeader;
use pingora_core::Result;
use pingora_core::modules::http::{HttpModule, HttpModuleBuilder, HttpModules, Module};

/// What is done with the header, and with it whether the response ends there.
pub(crate) type Look = fn(&mut ResponseHeader, bool) -> Result<()>;

/// Modules that do this and nothing else, to be made once.
pub(crate) fn last_look(look: Look) -> HttpModules {
    let mut modules = HttpModules::new();
    modules.add_module(Box::new(LastLook(look)));
    modules
}

struct LastLook(Look);

impl HttpModuleBuilder for LastLook {
    fn init(&self) -> Module {
        Box::new(LastLook(self.0))
    }
}

#[async_trait]
impl HttpModule for LastLook {
    async fn response_header_filter(&mut self, response: &mut ResponseHeader, ends: bool) -> Result<()> {
        (self.0)(response, ends)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}
