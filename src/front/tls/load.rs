//! A certificate and its key, from their files: usable, or what is wrong with them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, RootCertStore, SignatureAlgorithm};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::{Certificate, reason};

/// A certificate of our own.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) key: Arc<CertifiedKey>,
    /// The hosts that it is for, in small letters; with or without a `*.` at the beginning.
    pub(super) names: Vec<String>,
    /// From when to when it is good, in Unix time.
    pub(super) from: i64,
    pub(super) to: i64,
    /// Where it was read, as people are told.
    pub(super) path: String,
}

/// Which of two files is wrong, and how.
pub(super) type Wrong = (&'static str, String);

impl Pair {
    /// Read it.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(super) fn load(files: &Certificate, provider: &CryptoProvider) -> Result<Self, Vec<Wrong>> {
        let texts = [("certificate", &files.certificate), ("key", &files.key)].map(|(which, path)| {
            fs::read(path).map_err(|e| (which, format!("cannot read {}: {}", path.display(), reason(&e))))
        });
        let (certificate, key) = match texts {
            [Ok(certificate), Ok(key)] => (certificate, key),
            texts => return Err(texts.into_iter().filter_map(Result::err).collect()),
        };
        Self::read(files, &certificate, &key, provider).map_err(|wrong| vec![wrong])
    }

    fn read(files: &Certificate, certificate: &[u8], key: &[u8], provider: &CryptoProvider) -> Result<Self, Wrong> {
        let chain = certificates(&files.certificate, certificate).map_err(|why| ("certificate", why))?;
        let leaf = chain.first().cloned().ok_or(("certificate", "there is none".to_owned()))?;
        let shown = files.key.display();
        let private = PrivateKeyDer::from_pem_slice(key).map_err(|e| match e {
            pem::Error::NoItemsFound => ("key", format!("{shown} has no unencrypted PRIVATE KEY in it")),
            _ => ("key", format!("{shown} is not valid PEM")),
        })?;
        let key = CertifiedKey::from_der(chain, private, provider).map_err(|e| match e {
            Error::InconsistentKeys(_) => ("certificate", format!("the key in {shown} is another certificate's")),
            e => ("certificate", format!("the certificate and the key cannot be used: {e}")),
        })?;
        let path = files.certificate.display().to_string();
        let (_, read) =
            X509Certificate::from_der(&leaf).map_err(|e| ("certificate", format!("{path} cannot be read: {e}")))?;
        let (from, to) = (read.validity().not_before.timestamp(), read.validity().not_after.timestamp());
        Ok(Pair { key: Arc::new(key), names: names(&read), from, to, path })
    }

    /// What kind its key is.
    pub(super) fn algorithm(&self) -> SignatureAlgorithm {
        self.key.key.algorithm()
    }
}

/// Whom the certificates of clients may be signed by.
///
/// # Errors
/// That nobody can be read.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let text = fs::read(path).map_err(|e| format!("cannot read {}: {}", path.display(), reason(&e)))?;
    let mut roots = RootCertStore::empty();
    for (i, authority) in certificates(path, &text)?.into_iter().enumerate() {
        roots.add(authority).map_err(|e| format!("certificate {} in {} cannot be used: {e}", i + 1, path.display()))?;
    }
    Ok(roots)
}

/// All certificates of a file, at least one.
fn certificates(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(format!("{} has no CERTIFICATE in it", path.display())),
        Ok(found) => Ok(found),
        Err(_) => Err(format!("{} is not valid PEM", path.display())),
    }
}

/// The hosts that a certificate is for: its alternative names, or its common name, as old ones have it.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let mut names: Vec<String> = match alternative {
        Some(found) => found.value.general_names.iter().filter_map(host).collect(),
        None => {
            let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
            common.map(str::to_ascii_lowercase).collect()
        }
    };
    names.sort_unstable();
    names.dedup();
    names
}

fn host(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    }
}
