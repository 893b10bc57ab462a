//! Certificates of sites and of clients, made by openssl; and a client that shows what it got.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::{Client, LIMIT};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, ProtocolVersion, SignatureScheme,
    StreamOwned, SupportedProtocolVersion,
};

/// A certificate and its key, in files.
#[derive(Clone)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Pair {
    /// As an item of `certificates`.
    pub fn yaml(&self) -> String {
        format!("{{ certificate: {}, key: {} }}", self.certificate, self.key)
    }

    /// The certificate itself.
    pub fn der(&self) -> Vec<u8> {
        CertificateDer::from_pem_file(&self.certificate).unwrap().to_vec()
    }
}

fn pair(dir: &Path, name: &str) -> Pair {
    let path = |end: &str| dir.join(format!("{name}.{end}")).to_str().unwrap().to_owned();
    Pair { certificate: path("pem"), key: path("key") }
}

fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

const EC: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
const RSA: [&str; 2] = ["-newkey", "rsa:2048"];
/// An authority's own certificate is none that a server may show, to rustls.
const LEAF: [&str; 2] = ["-addext", "basicConstraints=critical,CA:FALSE"];

fn make(pair: Pair, kind: &[&str], subject: &str, more: &[&str]) -> Pair {
    let begin = ["req", "-x509", "-nodes", "-subj", subject, "-keyout", &pair.key, "-out", &pair.certificate];
    openssl(&[&begin, kind, more].concat());
    pair
}

/// A certificate for these names, with an ECDSA key.
pub fn site(dir: &Path, file: &str, names: &[&str]) -> Pair {
    site_for(dir, file, names, 90)
}

/// The same, that is good for so many days.
pub fn site_for(dir: &Path, file: &str, names: &[&str], days: u32) -> Pair {
    let (days, names) = (days.to_string(), alternative(names));
    make(pair(dir, file), &EC, "/CN=site", &[&["-days", &days, "-addext", &names], &LEAF[..]].concat())
}

/// The same with an RSA key.
pub fn rsa_site(dir: &Path, file: &str, names: &[&str]) -> Pair {
    make(pair(dir, file), &RSA, "/CN=site", &[&["-days", "90", "-addext", &alternative(names)], &LEAF[..]].concat())
}

fn alternative(names: &[&str]) -> String {
    format!("subjectAltName=DNS:{}", names.join(",DNS:"))
}

/// An authority.
pub fn authority(dir: &Path, name: &str) -> Pair {
    make(pair(dir, name), &EC, &format!("/CN={name}"), &["-days", "90"])
}

/// A client's certificate that an authority has signed.
pub fn client(dir: &Path, file: &str, subject: &str, names: &str, by: &Pair) -> Pair {
    let (pair, request, extensions) = (pair(dir, file), dir.join("request"), dir.join("extensions"));
    let (request, extensions_file) = (request.to_str().unwrap(), extensions.to_str().unwrap());
    let begin = ["req", "-nodes", "-subj", subject, "-keyout", &pair.key, "-out", request];
    openssl(&[&begin, &EC[..]].concat());
    std::fs::write(&extensions, format!("subjectAltName={names}\nextendedKeyUsage=clientAuth\n")).unwrap();
    let sign = ["x509", "-req", "-in", request, "-CA", &by.certificate, "-CAkey", &by.key, "-CAcreateserial"];
    let rest = ["-days", "90", "-extfile", extensions_file, "-out", &pair.certificate];
    openssl(&[&sign[..], &rest].concat());
    pair
}

/// Takes any certificate, and signatures of these kinds.
#[derive(Debug)]
struct Anybody(Vec<SignatureScheme>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

/// What a client of rustls is.
pub struct Settings<'a> {
    pub versions: &'a [&'static SupportedProtocolVersion],
    /// Default all that there are.
    pub schemes: Option<Vec<SignatureScheme>>,
    pub certificate: Option<&'a Pair>,
    pub protocols: &'a [&'a str],
}

impl Default for Settings<'_> {
    fn default() -> Self {
        Settings { versions: rustls::ALL_VERSIONS, schemes: None, certificate: None, protocols: &[] }
    }
}

impl Settings<'_> {
    /// A client, with sessions of its own.
    pub fn client(self) -> Arc<ClientConfig> {
        let provider = Arc::new(default_provider());
        let all = provider.signature_verification_algorithms.supported_schemes();
        let verifier = Arc::new(Anybody(self.schemes.unwrap_or(all)));
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(self.versions).unwrap();
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match self.certificate {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
                builder.with_client_auth_cert(vec![CertificateDer::from(pair.der())], key).unwrap()
            }
        };
        config.alpn_protocols = self.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// A connection over TLS, and what came of the handshake.
pub struct Tls {
    pub client: Client,
    /// The server's certificate.
    pub leaf: Vec<u8>,
    pub resumed: bool,
    pub version: ProtocolVersion,
}

/// Connect, and ask for this name; for none if it is an address.
pub fn connect(address: SocketAddr, name: &str, client: &Arc<ClientConfig>) -> io::Result<Tls> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut session = ClientConnection::new(Arc::clone(client), name).map_err(io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    while session.is_handshaking() {
        session.complete_io(&mut stream)?;
    }
    let leaf = session.peer_certificates().unwrap()[0].to_vec();
    let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
    let version = session.protocol_version().unwrap();
    Ok(Tls { client: Client::over(StreamOwned::new(session, stream)), leaf, resumed, version })
}
