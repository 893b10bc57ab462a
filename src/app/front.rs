//! What must be set before pingora reads a request's header, ahead of any hook.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::H2Options;
use pingora_core::server::ShutdownWatch;
use pingora_proxy::HttpProxy;

use crate::proxy::Proxy;

/// The proxy behind its idle timeout. Pingora waits 60 seconds for the first byte of a connection and, by default, for ever
/// between two requests on it.
pub(super) struct Front {
    proxy: Arc<HttpProxy<Proxy>>,
    idle_timeout: u64,
}

impl Front {
    pub(super) fn new(proxy: HttpProxy<Proxy>, idle_timeout: Duration) -> Self {
        // Pingora counts in whole seconds, and takes 0 for ever.
        Front { proxy: Arc::new(proxy), idle_timeout: idle_timeout.as_secs_f64().ceil().max(1.0) as u64 }
    }
}

#[async_trait]
impl HttpServerApp for Front {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        // Not where the connection is to be closed: it would be kept in a process that stops.
        if session.get_keepalive().is_some() {
            session.set_keepalive(Some(self.idle_timeout));
        }
        self.proxy.process_new_http(session, shutdown).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.proxy.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.proxy.server_options()
    }

    async fn http_cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}
