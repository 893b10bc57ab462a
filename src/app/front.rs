//! The way of a connection into the proxy: what must be set before pingora reads a request's header, ahead of any hook.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, ServerApp};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::{ALPN, Stream};
use pingora_core::server::ShutdownWatch;
use pingora_proxy::HttpProxy;

use crate::proxy::Proxy;

/// The proxy behind its idle timeout. Pingora waits 60 seconds for the first byte of a connection and, by default, for ever
/// between two requests on it.
pub(super) struct Front {
    proxy: Arc<HttpProxy<Proxy>>,
    /// In seconds, as pingora counts; never 0, which is for ever.
    idle_timeout: u64,
    /// HTTP/2 by prior knowledge is looked for.
    h2c: bool,
}

impl Front {
    pub(super) fn new(proxy: HttpProxy<Proxy>, idle_timeout: Duration, h2c: bool) -> Self {
        Front { proxy: Arc::new(proxy), idle_timeout: idle_timeout.as_secs_f64().ceil().max(1.0) as u64, h2c }
    }

    /// One request after the other, as pingora's own loop does it.
    async fn serve_http1(&self, stream: Stream, shutdown: &ShutdownWatch) {
        let mut session = ServerSession::new_http1(stream);
        session.set_keepalive((!*shutdown.borrow()).then_some(self.idle_timeout));
        while let Some(reused) = self.proxy.process_new_http(session, shutdown).await {
            let (stream, settings) = reused.consume();
            session = ServerSession::new_http1(stream);
            if let Some(settings) = settings {
                settings.apply_to_session(&mut session);
            }
            // Not where the connection is to be closed: it would be kept in a process that stops.
            if session.get_keepalive().is_some() {
                session.set_keepalive(Some(self.idle_timeout));
            }
        }
    }
}

#[async_trait]
impl ServerApp for Front {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        if self.h2c || matches!(stream.selected_alpn_proto(), Some(ALPN::H2)) {
            return self.proxy.process_new(stream, shutdown).await;
        }
        self.serve_http1(stream, shutdown).await;
        None
    }

    async fn cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}
