//! What is true of every request of a connection, because of the listener that it came in on and of how it did.
//!
//! Most connections have no such terms. Those that do carry them in one pointer, which is made once and found by whoever
//! writes an answer, wherever that is: an answer of our own has the same headers as one of a backend.

mod certificate;
mod name;

use std::sync::Arc;

use http::HeaderValue;
use http::header::STRICT_TRANSPORT_SECURITY;
use pingora::http::ResponseHeader;
use pingora_core::Result;

use crate::config::{Hsts, Redirect};

pub use certificate::{AltName, ClientCertificate};

tokio::task_local! {
    static CURRENT: Option<Arc<Terms>>;
}

/// What is true of every request of a connection.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// What `Strict-Transport-Security` says; `None`: there is no such header.
    pub(crate) hsts: Option<HeaderValue>,
    /// The address of its listener, if that has filters of its own.
    pub(crate) listener: Option<Arc<str>>,
    /// Requests are answered by sending the client to HTTPS.
    pub(crate) redirect: Option<Redirect>,
    /// The certificate that the client has shown, and that was found good.
    pub(crate) client_certificate: Option<Arc<ClientCertificate>>,
}

impl Terms {
    /// Whether there is anything to know.
    pub(crate) fn is_empty(&self) -> bool {
        self.hsts.is_none() && self.listener.is_none() && self.redirect.is_none() && self.client_certificate.is_none()
    }

    /// Whatever is done within `serve` is done on these terms.
    pub(crate) async fn around<T>(terms: Option<Arc<Terms>>, serve: impl Future<Output = T>) -> T {
        CURRENT.scope(terms, serve).await
    }

    /// What `find` makes of the listener of the present connection, if that has filters of its own.
    pub(crate) fn listener<T>(find: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        CURRENT.try_with(|terms| find(terms.as_ref()?.listener.as_deref()?)).ok().flatten()
    }

    /// Those of the present connection, if it has any.
    #[inline]
    pub(crate) fn current() -> Option<Arc<Terms>> {
        CURRENT.try_with(Clone::clone).ok().flatten()
    }
}

/// Have a response on the present connection say that its host is for TLS only, where that is wanted.
///
/// # Errors
/// None: the name and the value are well-formed.
#[inline]
pub(crate) fn tell_strict_transport(response: &mut ResponseHeader) -> Result<()> {
    if let Some(hsts) = Terms::current().and_then(|terms| terms.hsts.clone()) {
        response.insert_header(STRICT_TRANSPORT_SECURITY, hsts)?;
    }
    Ok(())
}

/// What `Strict-Transport-Security` says.
pub(crate) fn strict_transport_security(hsts: &Hsts) -> HeaderValue {
    let mut value = format!("max-age={}", hsts.max_age.as_secs());
    if hsts.include_subdomains {
        value.push_str("; includeSubDomains");
    }
    if hsts.preload {
        value.push_str("; preload");
    }
    HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("max-age=0"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_header_says_what_was_asked_for() {
        let header = |seconds, include_subdomains, preload| {
            strict_transport_security(&Hsts { max_age: Duration::from_secs(seconds), include_subdomains, preload })
        };
        assert_eq!(header(0, false, false), "max-age=0");
        assert_eq!(header(31_536_000, true, true), "max-age=31536000; includeSubDomains; preload");
    }
}
