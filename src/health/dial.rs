//! A fresh connection to a backend, as a new client would make it; over TLS, if the probe says so.
//!
//! Not by pingora's `Connector`: it keeps connections, takes two that differ in their authorities alone for the same, loads the
//! system's trust store twice for each check, and cannot skip verification where that store is empty.

use std::sync::{Arc, OnceLock};

use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream as Socket;
use pingora_core::protocols::tls::client::handshake;
use pingora_core::protocols::{ALPN, Stream};
use pingora_core::tls::{
    TlsConnector, install_default_crypto_provider, load_ca_file_into_store, load_certs_and_key_files,
    load_platform_certs_incl_env_into_store,
};
use pingora_core::{BError, Error, ErrorType, OrErr, Result};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};

use crate::config::{ClientCertificate, HttpProtocol, ProbeTls, ProxyProtocol};
use crate::proxy_header;

/// Whom probes over TLS trust unless they say otherwise. Loaded when the first one asks, once for all of them.
#[derive(Default)]
pub struct Trust {
    ca_file: Option<String>,
    store: OnceLock<Result<Arc<RootCertStore>, String>>,
}

impl Trust {
    /// The authorities in a PEM file; `None`: the system's, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
    pub fn new(ca_file: Option<&str>) -> Self {
        Trust { ca_file: ca_file.map(str::to_owned), store: OnceLock::new() }
    }

    /// Whether there is anybody to trust.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn usable(&self) -> Result<(), String> {
        match self.store()?.is_empty() {
            true => {
                Err("this system trusts no authority; install some, or name yours in 'ca' or the top level's 'ca_file'"
                    .to_owned())
            }
            false => Ok(()),
        }
    }

    fn store(&self) -> Result<Arc<RootCertStore>, String> {
        let load = || match &self.ca_file {
            Some(file) => authorities(file),
            None => {
                let mut store = RootCertStore::empty();
                load_platform_certs_incl_env_into_store(&mut store).map_err(|e| e.root_cause().to_string())?;
                Ok(Arc::new(store))
            }
        };
        self.store.get_or_init(load).clone()
    }
}

fn authorities(file: &str) -> Result<Arc<RootCertStore>, String> {
    let mut store = RootCertStore::empty();
    let loaded = load_ca_file_into_store(file, &mut store);
    loaded.map_err(|e| format!("cannot use {file}: {}", e.root_cause()))?;
    if store.is_empty() { Err(format!("{file} has no CERTIFICATE in it")) } else { Ok(Arc::new(store)) }
}

/// How to reach what is to be probed.
pub(super) struct Dial {
    /// Another port than the backend's.
    port: Option<u16>,
    tls: Option<Tls>,
    protocol: HttpProtocol,
    /// What each connection begins with.
    header: Option<Vec<u8>>,
}

struct Tls {
    connector: TlsConnector,
    /// `None`: the IP address that is asked.
    server_name: Option<String>,
}

impl Dial {
    /// # Errors
    /// Authorities that cannot be loaded.
    pub(super) fn new(
        port: Option<u16>,
        tls: Option<&ProbeTls>,
        protocol: HttpProtocol,
        announced: Option<ProxyProtocol>,
        trust: &Trust,
    ) -> Result<Self, String> {
        let tls = tls.map(|tls| {
            let connector = TlsConnector::from(Arc::new(client(tls, protocol, trust)?));
            Ok::<_, String>(Tls { connector, server_name: tls.server_name.clone() })
        });
        // Of nobody: it is us who ask.
        let header = announced.map(|version| proxy_header::encode(version, None));
        Ok(Dial { port, tls: tls.transpose()?, protocol, header })
    }

    pub(super) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    pub(super) async fn connect(&self, target: &SocketAddr) -> Result<Stream> {
        let mut socket = self.socket(target).await?;
        if let Some(header) = &self.header {
            socket.write_all(header).await.or_err(ErrorType::ConnectError, "cannot send the PROXY header")?;
            socket.flush().await.or_err(ErrorType::ConnectError, "cannot send the PROXY header")?;
        }
        let Some(tls) = &self.tls else {
            return Ok(Box::new(socket));
        };
        // TLS wants some name, even to verify nothing; an address is not sent as SNI.
        let name = match (&tls.server_name, target) {
            (Some(name), _) => name.clone(),
            (None, SocketAddr::Inet(address)) => address.ip().to_string(),
            (None, SocketAddr::Unix(_)) => "localhost".to_owned(),
        };
        let stream: Stream = Box::new(handshake(&tls.connector, &name, socket).await.map_err(|e| failure(&e))?);
        if self.protocol == HttpProtocol::H2 && stream.selected_alpn_proto() != Some(ALPN::H2) {
            return Error::e_explain(ErrorType::Custom("NotHttp2"), "the backend does not agree to h2 by ALPN");
        }
        Ok(stream)
    }

    async fn socket(&self, target: &SocketAddr) -> Result<Socket> {
        let connected = match target {
            SocketAddr::Inet(address) => {
                let mut address = *address;
                address.set_port(self.port.unwrap_or(address.port()));
                TcpStream::connect(address).await.map(Socket::from)
            }
            SocketAddr::Unix(address) => {
                UnixStream::connect(address.as_pathname().unwrap_or("".as_ref())).await.map(Socket::from)
            }
        };
        connected.or_err(ErrorType::ConnectError, "cannot connect")
    }
}

/// Pingora puts what rustls says into the middle of a text, between its own words.
fn failure(e: &Error) -> BError {
    let all = e.context.as_ref().map_or("", |context| context.as_str());
    let said = all.rsplit("cause: ").next().unwrap_or_default();
    let said = said.rsplit_once(", SNI: ").map_or(said, |(said, _)| said);
    Error::explain(ErrorType::TLSHandshakeFailure, said.to_owned())
}

fn client(tls: &ProbeTls, protocol: HttpProtocol, trust: &Trust) -> Result<ClientConfig, String> {
    install_default_crypto_provider();
    let provider = CryptoProvider::get_default().ok_or("there is no cryptography to use")?;
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| e.to_string())?;
    let builder = if tls.insecure_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(Arc::clone(provider))))
    } else {
        builder.with_root_certificates(match &tls.ca {
            Some(file) => authorities(&file.to_string_lossy())?,
            None => trust.store()?,
        })
    };
    let mut client = match &tls.client {
        Some(shown) => {
            let (chain, key) = certificate(shown)?;
            builder.with_client_auth_cert(chain, key).map_err(|e| e.to_string())?
        }
        None => builder.with_no_client_auth(),
    };
    // A session that is resumed is not verified again: a certificate that has expired would go unnoticed.
    client.resumption = Resumption::disabled();
    client.alpn_protocols = match protocol {
        HttpProtocol::H1 => vec![b"http/1.1".to_vec()],
        HttpProtocol::H2 => vec![b"h2".to_vec()],
    };
    Ok(client)
}

type Shown = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn certificate(files: &ClientCertificate) -> Result<Shown, String> {
    let (certificate, key) = (files.certificate.to_string_lossy(), files.key.to_string_lossy());
    let loaded = load_certs_and_key_files(&certificate, &key).map_err(|e| e.root_cause().to_string())?;
    loaded.ok_or_else(|| format!("{certificate} and {key} are no certificate and key"))
}

/// Takes any certificate, for `insecure_skip_verify`. That its owner has the key to it is still verified.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
