//! The handshake, and all that a listener asks for in it.
//!
//! Certificates change while the listener is open: whoever comes afterwards gets the new ones, and who is there already stays.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use log::debug;
use pingora_core::protocols::Stream;
use pingora_core::protocols::tls::SslDigest;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{HandshakeKind, ServerConfig, version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificates::{Chooser, distinct, load};
use super::load::{Pair, authorities};
use super::stream::Secured;
use super::tickets::{Policy, TicketKeys, Tickets};
use super::{expiry, outcome};
use crate::config::{ListenerTls, Mistake, TlsVersion, not_usable};
use crate::metrics::{Handshake, Handshakes};
use crate::terms::ClientCertificate;

/// What clients choose among, the preferred first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// How long a client has to take note of why it was turned away.
const FAREWELL: Duration = Duration::from_secs(1);

/// Whoever makes handshakes for one listener.
pub(crate) struct Acceptor {
    tls: ListenerTls,
    keys: Arc<TicketKeys>,
    handshakes: Handshakes,
    loaded: ArcSwap<Loaded>,
}

/// What was read from files.
struct Loaded {
    config: Arc<ServerConfig>,
    pairs: Vec<Arc<Pair>>,
}

/// What came of files that have changed.
#[derive(Debug, Default)]
pub(crate) struct Renewal {
    /// The certificates that are others now.
    pub(crate) taken: Vec<String>,
    /// What cannot be used, while what was before goes on.
    pub(crate) failed: Vec<String>,
}

/// Rustls' own choice of what is safe, by ring.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Read all files of a listener, of which `key` says where the configuration names it.
///
/// # Errors
/// Every mistake.
pub(super) fn examine(tls: &ListenerTls, key: &str) -> Result<Vec<Arc<Pair>>, Vec<Mistake>> {
    let provider = provider();
    let pairs = load(tls, key, &provider);
    match (server_config(tls, &[], &Arc::default(), &provider), pairs) {
        (Ok(_), pairs) => pairs,
        (Err(wrong), pairs) => {
            let at = tls.clients.as_ref().map(|clients| clients.at).unwrap_or_default();
            let wrong = not_usable(at, &format!("{key}.client_ca"), &wrong);
            Err(pairs.err().into_iter().flatten().chain([wrong]).collect())
        }
    }
}

/// What rustls is to do.
///
/// # Errors
/// What is wrong with the authorities.
fn server_config(
    tls: &ListenerTls,
    pairs: &[Arc<Pair>],
    keys: &Arc<TicketKeys>,
    provider: &Arc<CryptoProvider>,
) -> Result<ServerConfig, String> {
    let versions: &[_] = match tls.min_version {
        TlsVersion::Tls12 => &[&version::TLS13, &version::TLS12],
        TlsVersion::Tls13 => &[&version::TLS13],
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider));
    let builder = builder.with_protocol_versions(versions).map_err(|e| e.to_string())?;
    let mut policy: Vec<Vec<u8>> = vec![b"none".to_vec()];
    let builder = match &tls.clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let roots = Arc::new(authorities(&clients.ca)?);
            policy = vec![if clients.required { b"required".to_vec() } else { b"optional".to_vec() }];
            policy.extend(
                roots
                    .roots
                    .iter()
                    .flat_map(|root| [root.subject.as_ref().to_vec(), root.subject_public_key_info.as_ref().to_vec()]),
            );
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
            let verifier = if clients.required { verifier } else { verifier.allow_unauthenticated() };
            builder.with_client_cert_verifier(verifier.build().map_err(|e| e.to_string())?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(Chooser::new(pairs)));
    let policy: Vec<&[u8]> = policy.iter().map(Vec::as_slice).collect();
    config.ticketer = Arc::new(Tickets { keys: Arc::clone(keys), policy: Policy::new(&policy) });
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(config)
}

impl Acceptor {
    /// One for a listener.
    ///
    /// # Errors
    /// Every mistake in what it names.
    pub(crate) fn new(tls: &ListenerTls, keys: &Arc<TicketKeys>, handshakes: Handshakes) -> Result<Self, Vec<Mistake>> {
        let pairs = examine(tls, "tls")?;
        let config = server_config(tls, &pairs, keys, &provider())
            .map_err(|wrong| vec![not_usable(crate::config::Place::default(), "tls.client_ca", &wrong)])?;
        let loaded = ArcSwap::from_pointee(Loaded { config: Arc::new(config), pairs });
        Ok(Acceptor { tls: tls.clone(), keys: Arc::clone(keys), handshakes, loaded })
    }

    /// The files that it reads.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.tls.files().cloned().collect()
    }

    /// Read them anew. A certificate that is not whole, or not the key's, stays what it was; and so does everything, if it would
    /// not be clear what to serve.
    pub(crate) fn renew(&self) -> Renewal {
        let (provider, before, mut renewal) = (provider(), self.loaded.load_full(), Renewal::default());
        let mut pairs = Vec::new();
        for (files, known) in self.tls.certificates.iter().zip(&before.pairs) {
            match Pair::load(files, &provider) {
                Ok(pair) if pair.key.cert == known.key.cert => pairs.push(Arc::clone(known)),
                Ok(pair) => {
                    renewal.taken.push(pair.path.clone());
                    pairs.push(Arc::new(pair));
                }
                Err(wrong) => {
                    renewal.failed.extend(wrong.into_iter().map(|(_, message)| message));
                    pairs.push(Arc::clone(known));
                }
            }
        }
        if let Err((number, message)) = distinct(&pairs) {
            renewal.taken.clear();
            renewal.failed.push(format!("certificates[{number}] {message}"));
            return renewal;
        }
        match server_config(&self.tls, &pairs, &self.keys, &provider) {
            Ok(config) => self.loaded.store(Arc::new(Loaded { config: Arc::new(config), pairs })),
            Err(wrong) => {
                renewal.taken.clear();
                renewal.failed.push(wrong);
            }
        }
        renewal
    }

    /// Each certificate that it serves, and until when that is good, in Unix time.
    pub(crate) fn expiries(&self) -> Vec<(String, i64)> {
        self.loaded.load().pairs.iter().map(|pair| (pair.path.clone(), pair.to)).collect()
    }

    /// What people should know of the certificates now.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let now = expiry::now();
        self.loaded.load().pairs.iter().filter_map(|pair| expiry::warning(pair, now)).collect()
    }

    /// Make a handshake, within this time: the connection after it, and the certificate that the client has shown, if any.
    /// `None` if there is no connection any more.
    pub(crate) async fn accept(
        &self,
        stream: Stream,
        limit: Duration,
    ) -> Option<(Stream, Option<Arc<ClientCertificate>>)> {
        let (began, config) = (Instant::now(), Arc::clone(&self.loaded.load().config));
        let made = timeout(limit, TlsAcceptor::from(config).accept(stream).into_fallible()).await;
        let stream = match made {
            Ok(Ok(stream)) => stream,
            Ok(Err((e, stream))) => {
                let how = outcome::of(&e);
                self.handshakes.count(how);
                debug!("no TLS with a client: {e}");
                if how != Handshake::ClientGone {
                    farewell(stream).await;
                }
                return None;
            }
            Err(_) => {
                self.handshakes.count(Handshake::TimedOut);
                debug!("no TLS with a client: not within {limit:?}");
                return None;
            }
        };
        let session = stream.get_ref().1;
        let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        let shown = session.peer_certificates().and_then(|chain| chain.first());
        let shown = shown.map(|leaf| Arc::new(ClientCertificate::read(leaf)));
        // A whole handshake has asked. With a session of before, nobody has since.
        if resumed && shown.as_ref().is_some_and(|shown| shown.has_ended(expiry::now())) {
            self.handshakes.count(Handshake::ClientCertificate);
            debug!("no TLS with a client: its certificate has expired since it was here");
            return None;
        }
        self.handshakes.count(if resumed { Handshake::Resumed } else { Handshake::Full });
        let digest = ssl_digest(&stream, shown.as_deref());
        Some((Box::new(Secured::new(stream, digest, began.elapsed())), shown))
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("tls", &self.tls).finish_non_exhaustive()
    }
}

/// What pingora's hooks see of a connection.
fn ssl_digest(stream: &TlsStream<Stream>, shown: Option<&ClientCertificate>) -> SslDigest {
    let session = stream.get_ref().1;
    let cipher = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default();
    let version = session.protocol_version().and_then(|version| version.as_str()).unwrap_or_default();
    let serial = shown.map(|shown| shown.serial().to_owned());
    SslDigest::new(cipher, version, None, serial, shown.map(ClientCertificate::digest).unwrap_or_default())
}

/// Have the client see why it was turned away, and not a reset: what it still sends is read for a moment.
async fn farewell(mut stream: Stream) {
    let said = async {
        stream.flush().await?;
        stream.shutdown().await?;
        let mut rest = [0; 4096];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // Whoever does not listen does not hear it.
    let _ = timeout(FAREWELL, said).await;
}
