//! How the backends of a pool are spoken to: everything of it is decided when the pool is built, and an attempt copies it.
//!
//! Pingora takes two peers for the same that differ in whom they trust, in the certificate that they show or in their ALPN, and
//! would let them share connections. So each way to speak has a number of its own, made of all that belongs to it, files
//! included, which keeps its connections apart.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::protocols::TcpKeepalive;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::tls::load_certs_and_key_files;
use pingora_core::upstreams::peer::{ALPN, HttpPeer, Scheme};
use pingora_core::utils::tls::{CertKey, WrappedX509};
use ring::digest::{Context, SHA256};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::backend::BackendState;
use crate::config::{self, BackendTls, ClientCertificate, Protocol, ProxyProtocol, Timeouts};
use crate::health::Trust;

/// What a certificate must be for that nobody says anything of and nobody verifies; TLS wants some name.
const NOBODY: &str = "localhost";

/// Notices within about a minute that the host behind a silent connection is gone, before a request has to.
const KEEPALIVE: TcpKeepalive = TcpKeepalive {
    idle: Duration::from_secs(30),
    interval: Duration::from_secs(10),
    count: 3,
    user_timeout: Duration::ZERO,
};

/// How the backends of a pool are spoken to.
#[derive(Clone, Debug, Default)]
pub struct Transport {
    pub(super) protocol: Protocol,
    pub(super) proxy_protocol: Option<ProxyProtocol>,
    tls: Option<Tls>,
    max_streams: usize,
    ping: Option<Duration>,
    /// Keeps its connections from those of others; 0 for plain HTTP/1.1, which all are alike.
    group: u64,
}

#[derive(Clone, Debug)]
struct Tls {
    server_name: Option<String>,
    ca: Option<Arc<[WrappedX509]>>,
    client: Option<Arc<CertKey>>,
    verify: bool,
}

impl Transport {
    /// What `config` says, with what stands in its files. `trust` is whom it trusts without a word of its own.
    ///
    /// # Errors
    /// Which key under the pool cannot be honoured, and why.
    pub fn new(config: &config::Transport, trust: &Trust) -> Result<Self, (&'static str, String)> {
        let mut context = Context::new(&SHA256);
        let tls = config.tls.as_ref().map(|tls| Tls::new(tls, trust, &mut context)).transpose()?;
        let plain = tls.is_none() && config.protocol == Protocol::H1 && config.proxy_protocol.is_none();
        let config::Transport { protocol, http2, proxy_protocol, .. } = config;
        context.update(format!("{protocol:?} {http2:?} {proxy_protocol:?}").as_bytes());
        let digest = context.finish();
        let number = digest.as_ref().first_chunk().map_or(1, |start| u64::from_be_bytes(*start));
        Ok(Transport {
            protocol: *protocol,
            proxy_protocol: *proxy_protocol,
            tls,
            max_streams: http2.max_streams as usize,
            ping: http2.ping,
            group: if plain { 0 } else { number },
        })
    }

    /// The peer that attempts copy, with what is alike in all of them.
    pub(super) fn peer(&self, timeouts: &Timeouts) -> HttpPeer {
        let placeholder = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
        let mut peer = HttpPeer::new(placeholder, false, String::new());
        // Pingora's default for every one of these is to wait for ever.
        let options = &mut peer.options;
        options.connection_timeout = Some(timeouts.connect);
        options.total_connection_timeout = Some(timeouts.connect);
        options.read_timeout = Some(timeouts.read);
        options.write_timeout = Some(timeouts.write);
        options.idle_timeout = Some(timeouts.idle);
        options.tcp_keepalive = Some(KEEPALIVE);
        self.prepare(&mut peer);
        peer
    }

    fn prepare(&self, peer: &mut HttpPeer) {
        peer.group_key = self.group;
        let options = &mut peer.options;
        options.alpn = match self.protocol {
            Protocol::H1 => ALPN::H1,
            Protocol::H2 => ALPN::H2,
            Protocol::Auto => ALPN::H2H1,
        };
        if self.protocol != Protocol::H1 {
            options.max_h2_streams = self.max_streams.max(1);
            options.h2_ping_interval = self.ping;
        }
        let Some(tls) = &self.tls else { return };
        peer.scheme = Scheme::HTTPS;
        peer.sni = tls.server_name.clone().unwrap_or_default();
        peer.client_cert_key = tls.client.clone();
        (options.verify_cert, options.verify_hostname) = (tls.verify, tls.verify);
        options.ca = tls.ca.clone();
    }

    /// Write into an attempt's peer what depends on the backend: whom its certificate must be for.
    #[inline]
    pub(super) fn address(&self, peer: &mut HttpPeer, backend: &BackendState) {
        // Without a name pingora would verify nothing.
        if self.tls.is_some() && peer.sni.is_empty() {
            peer.sni = match (backend.name(), backend.address()) {
                // A name that is absolute is the same without its dot, and no certificate has one.
                (Some(name), _) => name.trim_end_matches('.').to_owned(),
                (None, SocketAddr::Inet(address)) => address.ip().to_string(),
                (None, SocketAddr::Unix(_)) => NOBODY.to_owned(),
            };
        }
    }

    /// Ask in HTTP/1.1, which alone has upgrades, on connections of its own.
    pub(super) fn in_http1(&self, peer: &mut HttpPeer) {
        if self.protocol == Protocol::Auto {
            peer.options.alpn = ALPN::H1;
            peer.group_key = peer.group_key.wrapping_add(1);
        }
    }

    /// `http` or `https`.
    pub(super) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

impl Tls {
    fn new(config: &BackendTls, trust: &Trust, context: &mut Context) -> Result<Self, (&'static str, String)> {
        let ca = config.ca.as_deref().map(|file| authorities(file, context)).transpose().map_err(|e| ("tls.ca", e))?;
        if ca.is_none() {
            // Pingora needs somebody to trust even where nothing is verified.
            trust.usable().map_err(|e| ("tls", e))?;
        }
        let client = config.client.as_ref().map(|client| shown(client, context)).transpose();
        let verify = !config.insecure_skip_verify;
        context.update(format!("tls {:?} {verify}", config.server_name).as_bytes());
        Ok(Tls {
            server_name: config.server_name.clone(),
            ca,
            client: client.map_err(|e| ("tls.certificate", e))?.map(Arc::new),
            verify,
        })
    }
}

fn update(context: &mut Context, part: &[u8]) {
    context.update(&(part.len() as u64).to_be_bytes());
    context.update(part);
}

fn authorities(file: &Path, context: &mut Context) -> Result<Arc<[WrappedX509]>, String> {
    let shown = file.display();
    let wrong = |why: &dyn std::fmt::Display| format!("cannot use {shown}: {why}");
    let mut store = rustls::RootCertStore::empty();
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|e| wrong(&e))? {
        let certificate = certificate.map_err(|e| wrong(&e))?;
        // Pingora adds them for each connection, and fails that if one cannot be.
        store.add(certificate.clone()).map_err(|e| wrong(&e))?;
        update(context, &certificate);
        found.push(wrapped(certificate.to_vec()).map_err(|e| wrong(&e))?);
    }
    if found.is_empty() { Err(format!("{shown} has no CERTIFICATE in it")) } else { Ok(found.into()) }
}

/// Pingora panics over one that its other parser does not like.
fn wrapped(der: Vec<u8>) -> Result<WrappedX509, String> {
    parsable(&der)?;
    Ok(WrappedX509::new(der, pingora_core::utils::tls::parse_x509))
}

fn parsable(der: &[u8]) -> Result<(), String> {
    X509Certificate::from_der(der).map(drop).map_err(|e| format!("not a certificate: {e}"))
}

fn shown(client: &ClientCertificate, context: &mut Context) -> Result<CertKey, String> {
    let (certificate, key) = (client.certificate.to_string_lossy(), client.key.to_string_lossy());
    let loaded = load_certs_and_key_files(&certificate, &key).map_err(|e| e.root_cause().to_string())?;
    let (chain, key) = loaded.ok_or_else(|| format!("{certificate} and {key} are no certificate and key"))?;
    for certificate in &chain {
        parsable(certificate)?;
        update(context, certificate);
    }
    update(context, key.secret_der());
    Ok(CertKey::new(chain.iter().map(|one| one.to_vec()).collect(), key.secret_der().to_vec()))
}
