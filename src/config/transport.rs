//! How backends are spoken to: `protocol`, `http2`, `tls` and `proxy_protocol` of a pool.

use std::path::PathBuf;
use std::time::Duration;

use super::Place;

/// How the backends of a pool are spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transport {
    /// Default [`Protocol::H1`].
    pub protocol: Protocol,
    /// How HTTP/2 is spoken, where it is.
    pub http2: Http2,
    /// Default: no TLS.
    pub tls: Option<BackendTls>,
    /// What tells a backend who the client is, ahead of everything else. Default nothing.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// Which HTTP backends are asked in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    H1,
    /// HTTP/2 and nothing else: by ALPN over TLS, by prior knowledge without.
    H2,
    /// What the backend chooses by ALPN, HTTP/2 if it can; only with TLS.
    Auto,
}

/// How HTTP/2 is spoken to backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http2 {
    /// How many requests share a connection, 1 to [`Http2::MOST_STREAMS`]; fewer if the backend says so. Default 100.
    pub max_streams: u32,
    /// How often a connection is asked whether it is still there. Default never: many gRPC servers close the connection of who
    /// asks more often than every five minutes.
    pub ping: Option<Duration>,
}

impl Http2 {
    /// What RFC 9113, 6.5.2, recommends at least, and what servers allow by default.
    pub const MAX_STREAMS: u32 = 100;
    /// The most that `max_streams` may be.
    pub const MOST_STREAMS: u32 = 10_000;
}

impl Default for Http2 {
    fn default() -> Self {
        Http2 { max_streams: Self::MAX_STREAMS, ping: None }
    }
}

/// The TLS side of the way to backends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendTls {
    /// Whom the certificate must be for, a name or an IP address; sent as SNI if it is a name. Default: the name of the backend, or
    /// its IP address where the configuration gives no name.
    pub server_name: Option<String>,
    /// Who must have signed the certificate, as a PEM file. Default: the top level's `ca_file`, or whom the system trusts.
    pub ca: Option<PathBuf>,
    /// What is shown to backends that ask who we are. Default nothing.
    pub client: Option<ClientCertificate>,
    /// Take any certificate. Default `false`.
    pub insecure_skip_verify: bool,
    /// Where the file says so.
    pub at: Place,
}

/// A certificate that is shown to backends, both files PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate chain, the leaf first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A version of HAProxy's PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}
