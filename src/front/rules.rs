//! What a listener asks of its clients, and what it tells them. All of it may change while the listener is open.

use std::sync::Arc;

use ipnet::IpNet;

use super::tls::{Acceptor, TicketKeys};
use crate::config::{Listener, Mistake};
use crate::metrics::TlsMetrics;
use crate::terms::{ClientCertificate, Terms, strict_transport_security};

/// The rules of one listener.
#[derive(Debug)]
pub(crate) struct Rules {
    /// HTTP/2 by prior knowledge is looked for.
    pub(super) h2c: bool,
    /// Whose word is taken for who the client is.
    pub(super) proxies: Vec<IpNet>,
    /// Who makes the handshakes, if there are any.
    pub(super) tls: Option<Arc<Acceptor>>,
    /// What is true of every request, if anything.
    terms: Option<Arc<Terms>>,
}

impl Rules {
    /// Those of a listener, which metrics know by this name.
    ///
    /// # Errors
    /// Every mistake in the files that it names.
    pub(crate) fn new(
        listener: &Listener,
        name: &str,
        keys: &Arc<TicketKeys>,
        metrics: &TlsMetrics,
    ) -> Result<Self, Vec<Mistake>> {
        let acceptor = |tls| Acceptor::new(tls, keys, metrics.handshakes(name)).map(Arc::new);
        let tls = listener.tls.as_ref().map(acceptor).transpose()?;
        let hsts = listener.tls.as_ref().and_then(|tls| tls.hsts.as_ref());
        let hsts = hsts.map(strict_transport_security);
        let named = (!listener.filters.is_empty()).then(|| listener.address.to_string().into());
        let terms = Terms { hsts, listener: named, redirect: listener.redirect_to_https, client_certificate: None };
        let terms = (!terms.is_empty()).then(|| Arc::new(terms));
        Ok(Rules { h2c: listener.h2c, proxies: listener.proxy_protocol.clone(), tls, terms })
    }

    /// Who makes the handshakes.
    pub(crate) fn acceptor(&self) -> Option<&Arc<Acceptor>> {
        self.tls.as_ref()
    }

    /// The terms of a connection on which the client has shown this.
    pub(super) fn terms(&self, shown: Option<Arc<ClientCertificate>>) -> Option<Arc<Terms>> {
        match (&self.terms, shown) {
            (terms, None) => terms.clone(),
            (terms, shown) => {
                let terms = terms.as_deref().cloned().unwrap_or_default();
                Some(Arc::new(Terms { client_certificate: shown, ..terms }))
            }
        }
    }
}
