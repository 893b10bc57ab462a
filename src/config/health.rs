//! `health_check`: active probing of a pool's backends.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

use super::{ClientCertificate, Extension, Place, ProxyProtocol, Regex};

/// Active probing of a pool's backends.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// From the start of one probe of a backend to the start of the next. Default 5 s.
    pub interval: Duration,
    /// The same while it is unhealthy. Default: `interval`.
    pub unhealthy_interval: Duration,
    /// How long a whole probe may take, below both intervals. Default 2 s.
    pub timeout: Duration,
    /// Consecutive passes that make an unhealthy backend healthy, 1 to 100. Default 2.
    pub rise: u16,
    /// Consecutive failures that make a healthy backend unhealthy, 1 to 100. Default 3.
    pub fall: u16,
    /// What a backend is before its first probe. Default [`Initial::Probe`].
    pub initial: Initial,
    /// Where the file says so.
    pub at: Place,
}

impl HealthCheck {
    /// Often enough to notice within seconds, seldom enough to cost nothing.
    pub const INTERVAL: Duration = Duration::from_secs(5);
    /// A backend that needs longer to answer a probe is not well.
    pub const TIMEOUT: Duration = Duration::from_secs(2);
    /// One lucky pass does not bring a backend back.
    pub const RISE: u16 = 2;
    /// One lost probe does not take a backend out.
    pub const FALL: u16 = 3;
    /// The largest `rise` and `fall`.
    pub const MAX_THRESHOLD: u16 = 100;
}

impl Default for HealthCheck {
    fn default() -> Self {
        HealthCheck {
            probe: Probe::Tcp,
            interval: Self::INTERVAL,
            unhealthy_interval: Self::INTERVAL,
            timeout: Self::TIMEOUT,
            rise: Self::RISE,
            fall: Self::FALL,
            initial: Initial::Probe,
            at: Place::default(),
        }
    }
}

/// What a backend is taken for before its first probe has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Initial {
    /// Not admitted; the first probe alone decides.
    #[default]
    Probe,
    /// Healthy until `fall` probes have failed.
    Up,
    /// Unhealthy until `rise` probes have passed.
    Down,
}

/// What a health check asks a backend.
#[derive(Clone, Debug, PartialEq)]
pub enum Probe {
    /// `tcp: {}`: a connection can be made.
    Tcp,
    /// `http: {…}`: a request is answered as expected.
    Http(Box<HttpProbe>),
    /// `grpc: {…}`: the gRPC health service says that it is serving.
    Grpc(GrpcProbe),
    /// `NAME: {…}`: a check that a library user registered under that name.
    Extension(Extension),
}

/// An HTTP probe.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpProbe {
    /// The target, starting with `/`. Default `/`.
    pub path: String,
    /// Default `GET`, and `POST` where there is something to send.
    pub method: Method,
    /// Headers of the request beside its own. Default none.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body of the request. Default none.
    pub send: Option<String>,
    /// Inclusive ranges of statuses that pass, each 100 to 599. Default `[200-299]`.
    pub expect: Vec<(u16, u16)>,
    /// The `Host` header. Default: the backend's own address.
    pub host: Option<String>,
    /// Another port of the same host to ask. Default: the backend's own.
    pub port: Option<u16>,
    /// What the body of the response must match, within its first `max_body` bytes. Default: anything.
    pub body: Option<Regex>,
    /// How many bytes of the body are looked at. Default 64 KiB.
    pub max_body: u64,
    /// Default: [`HttpProtocol::H2`] in a pool of `protocol: h2`, otherwise [`HttpProtocol::H1`].
    pub protocol: HttpProtocol,
    /// Default: as the pool's, unless another port is asked.
    pub tls: Option<ProbeTls>,
    /// As the pool's, unless another port is asked.
    pub proxy_protocol: Option<ProxyProtocol>,
}

impl HttpProbe {
    /// A check's answer is short, and a backend must not be able to feed us for ever.
    pub const MAX_BODY: u64 = 64 * 1024;
}

impl Default for HttpProbe {
    fn default() -> Self {
        HttpProbe {
            path: "/".to_owned(),
            method: Method::GET,
            headers: Vec::new(),
            send: None,
            expect: vec![(200, 299)],
            host: None,
            port: None,
            body: None,
            max_body: Self::MAX_BODY,
            protocol: HttpProtocol::H1,
            tls: None,
            proxy_protocol: None,
        }
    }
}

/// What an HTTP probe speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpProtocol {
    /// HTTP/1.1.
    #[default]
    H1,
    /// HTTP/2: by prior knowledge in plain, by ALPN over TLS.
    H2,
}

/// A probe by the gRPC health protocol, `grpc.health.v1.Health/Check`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GrpcProbe {
    /// The service that is asked about. Default empty: the server as a whole.
    pub service: String,
    /// The `:authority`. Default: the backend's own address.
    pub host: Option<String>,
    /// Another port of the same host to ask. Default: the backend's own.
    pub port: Option<u16>,
    /// Default: as the pool's, unless another port is asked.
    pub tls: Option<ProbeTls>,
    /// As the pool's, unless another port is asked.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// How a probe speaks TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeTls {
    /// Whom the certificate must be for, a name or an IP address; sent as SNI if it is a name. Default: the probe's `host`
    /// without its port. `None`: the IP address that is asked.
    pub server_name: Option<String>,
    /// Who must have signed the certificate, as a PEM file. Default: the top level's `ca_file`, or whom the system trusts.
    pub ca: Option<PathBuf>,
    /// What is shown to who asks who we are: the pool's. Default nothing.
    pub client: Option<ClientCertificate>,
    /// Take any certificate. Default `false`.
    pub insecure_skip_verify: bool,
}

impl Probe {
    /// How it speaks TLS, if it does, and the key that says so.
    pub(crate) fn tls(&self) -> Option<(&'static str, &ProbeTls)> {
        match self {
            Probe::Http(http) => Some(("http.tls", http.tls.as_ref()?)),
            Probe::Grpc(grpc) => Some(("grpc.tls", grpc.tls.as_ref()?)),
            Probe::Tcp | Probe::Extension(_) => None,
        }
    }
}
