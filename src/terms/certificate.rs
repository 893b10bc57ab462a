//! The certificate of a client, once it was found good: what filters and backends may want to know of it.
//!
//! It is read when the connection begins. Who wrote it is an authority that the operator trusts, but not to write well: what
//! cannot be read of it is left out.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use ring::digest::{SHA256, digest};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::name;

/// A client's certificate, of which the TLS handshake has proven that the client has its key and that an authority of
/// `client_ca` has signed it.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    subject: String,
    issuer: String,
    serial: String,
    fingerprint: String,
    alt_names: Vec<AltName>,
    der: Vec<u8>,
    digest: Vec<u8>,
    /// In Unix time, where it says so.
    until: Option<i64>,
    headers: Headers,
}

/// A name in the certificate's *subject alternative name*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AltName {
    /// A host.
    Dns(String),
    /// An address of mail.
    Email(String),
    /// A URI, such as a SPIFFE identity.
    Uri(String),
    /// An IP address.
    Ip(IpAddr),
}

/// What backends are told, made once.
#[derive(Clone, Debug)]
struct Headers {
    certificate: Option<HeaderValue>,
    subject: Option<HeaderValue>,
    fingerprint: Option<HeaderValue>,
}

impl ClientCertificate {
    /// Read what a client has shown.
    pub(crate) fn read(der: &[u8]) -> Self {
        let digest = digest(&SHA256, der).as_ref().to_vec();
        let fingerprint = hex(&digest);
        let (subject, issuer, serial, alt_names, until) = match X509Certificate::from_der(der) {
            Ok((_, read)) => (
                name::written(read.subject()),
                name::written(read.issuer()),
                hex(read.tbs_certificate.raw_serial()),
                alt_names(&read),
                Some(read.validity().not_after.timestamp()),
            ),
            Err(_) => Default::default(),
        };
        // RFC 9440: a byte sequence of RFC 8941.
        let certificate = HeaderValue::try_from(format!(":{}:", STANDARD.encode(der))).ok();
        let headers = Headers {
            certificate,
            subject: (!subject.is_empty()).then(|| HeaderValue::try_from(&subject).ok()).flatten(),
            fingerprint: HeaderValue::try_from(&fingerprint).ok(),
        };
        let der = der.to_vec();
        ClientCertificate { subject, issuer, serial, fingerprint, alt_names, der, digest, until, headers }
    }

    /// Whom it is for, as RFC 4514 writes a name: `CN=alice,O=Example`. Empty if it names nobody.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Who signed it, written like the subject.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Its number with its issuer, in hexadecimal digits, two for each byte.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// SHA-256 of the whole certificate, in hexadecimal digits.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The names in its *subject alternative name*, as far as their kind is known.
    pub fn alt_names(&self) -> &[AltName] {
        &self.alt_names
    }

    /// The certificate itself.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of the whole certificate.
    pub(crate) fn digest(&self) -> Vec<u8> {
        self.digest.clone()
    }

    /// Whether it was good only until before this moment, in Unix time.
    pub(crate) fn has_ended(&self, now: i64) -> bool {
        self.until.is_some_and(|until| until < now)
    }

    /// The headers by which a backend is told of it.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&'static str, &HeaderValue)> {
        let Headers { certificate, subject, fingerprint } = &self.headers;
        let all = [
            ("Client-Cert", certificate),
            ("X-Client-Cert-Subject", subject),
            ("X-Client-Cert-Fingerprint", fingerprint),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)))
    }

    /// Whether this is the name of a header by which backends are told of certificates, or would be taken for one: to CGI and
    /// its heirs, `_` and `-` are the same.
    #[inline]
    pub(crate) fn is_header(name: &str) -> bool {
        let name = name.as_bytes();
        let begins = |with: &[u8]| {
            let same = |(a, b): (&u8, &u8)| a == b || (*a == b'_' && *b == b'-');
            name.iter().zip(with).all(same) && matches!(name.get(with.len()..), Some([] | [b'-' | b'_', ..]))
        };
        begins(b"client-cert") || begins(b"x-client-cert")
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn alt_names(certificate: &X509Certificate<'_>) -> Vec<AltName> {
    let Ok(Some(found)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(AltName::Dns((*name).to_owned())),
        GeneralName::RFC822Name(name) => Some(AltName::Email((*name).to_owned())),
        GeneralName::URI(name) => Some(AltName::Uri((*name).to_owned())),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok().map(AltName::Ip)
        }
        _ => None,
    };
    found.value.general_names.iter().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn what_is_no_certificate_is_known_by_its_fingerprint_alone() {
        for nonsense in [&b""[..], b"\x30", &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30; 3000]] {
            let read = ClientCertificate::read(nonsense);
            assert_eq!((read.subject(), read.issuer(), read.serial(), read.alt_names()), ("", "", "", &[][..]));
            let names: Vec<_> = read.headers().map(|(name, _)| name).collect();
            assert_eq!(names, ["Client-Cert", "X-Client-Cert-Fingerprint"]);
        }
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(ClientCertificate::read(b"").fingerprint(), empty);
    }

    #[test]
    fn all_is_read_of_a_certificate() {
        let read = ClientCertificate::read(&CertificateDer::from_pem_slice(include_bytes!("tests/alice.pem")).unwrap());
        assert_eq!(read.subject(), "CN=alice,O=Example\\, Inc+OU=Zo\\C3\\A9,C=DE");
        assert_eq!((read.issuer(), read.serial()), ("CN=authority", "0123ab"));
        assert_eq!(read.fingerprint(), "e16812a326beb5a1e4963ca35c9c84cffbf1970c8124736e2cef99d86cc400e6");
        let expected = [
            AltName::Dns("alice.example".to_owned()),
            AltName::Email("a@example.com".to_owned()),
            AltName::Uri("spiffe://example/alice".to_owned()),
            AltName::Ip("10.1.2.3".parse().unwrap()),
            AltName::Ip("2001:db8::1".parse().unwrap()),
        ];
        assert_eq!(read.alt_names(), expected);
        assert!(!read.has_ended(1_800_000_000) && read.has_ended(i64::MAX));
        let subject = read.headers().find(|(name, _)| *name == "X-Client-Cert-Subject").unwrap();
        assert_eq!(subject.1, read.subject());
    }

    #[test]
    fn headers_that_look_like_ours_are_known() {
        for name in [
            "client-cert",
            "client-cert-chain",
            "client_cert",
            "x-client-cert-subject",
            "x_client_cert-subject",
            "x-client-cert-anything",
        ] {
            assert!(ClientCertificate::is_header(name), "{name}");
        }
        for name in ["client", "client-certain", "x-client-certificate", "x-client-id", "xclient-cert"] {
            assert!(!ClientCertificate::is_header(name), "{name}");
        }
    }
}
