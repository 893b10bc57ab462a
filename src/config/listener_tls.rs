//! The TLS side of a listener, and what tells clients to come that way.

use std::path::PathBuf;
use std::time::Duration;

use super::Place;

/// The TLS side of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// At least one. The name that a client asks for picks; the first is for who asks for none, or for another.
    pub certificates: Vec<Certificate>,
    /// Whether clients show certificates. Default they are not asked to.
    pub clients: Option<ClientAuth>,
    /// The oldest version that is spoken. Default [`TlsVersion::Tls12`].
    pub min_version: TlsVersion,
    /// Whether browsers are told to come by TLS only from now on. Default not.
    pub hsts: Option<Hsts>,
}

impl ListenerTls {
    /// The files that it names.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let pairs = self.certificates.iter().flat_map(|pair| [&pair.certificate, &pair.key]);
        pairs.chain(self.clients.as_ref().map(|clients| &clients.ca))
    }
}

/// A certificate of our own, and its key; both files PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate chain, the leaf first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Where the file names the certificate.
    pub at: Place,
}

/// Which certificates clients show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuth {
    /// The authorities that may have signed them, PEM.
    pub ca: PathBuf,
    /// Whether a client without one is turned away. Default `true`.
    pub required: bool,
    /// Where the file names the authorities.
    pub at: Place,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// `1.2`
    Tls12,
    /// `1.3`
    Tls13,
}

/// HTTP Strict Transport Security, RFC 6797.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hsts {
    /// How long a browser remembers it. Zero has it forget.
    pub max_age: Duration,
    /// Whether it holds for all names below this one. Default `false`.
    pub include_subdomains: bool,
    /// Whether browsers may know of it before they have been here. Default `false`.
    pub preload: bool,
}

impl Hsts {
    /// What the lists of the browsers want: a year.
    pub const PRELOAD_AGE: Duration = Duration::from_secs(365 * 24 * 3600);
    /// Longer is a typo.
    pub const MAX_AGE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
}

/// An answer to every request that has not come by TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Where TLS is spoken, as clients see it. Default [`Redirect::PORT`].
    pub port: u16,
    /// 301, 302, 307 or 308. Default [`Redirect::STATUS`].
    pub status: u16,
}

impl Redirect {
    /// That of HTTPS.
    pub const PORT: u16 = 443;
    /// Permanent, and the method stays what it is.
    pub const STATUS: u16 = 308;
}

impl Default for Redirect {
    fn default() -> Self {
        Redirect { port: Self::PORT, status: Self::STATUS }
    }
}
