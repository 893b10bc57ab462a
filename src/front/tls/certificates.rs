//! The certificates of a listener, and which of them a client gets.
//!
//! The one for the name that the client asks for, exactly or by its wildcard; of several for a name, with keys of different
//! kinds, the cheapest that the client understands. The first of the list if it asks for another name, or for none.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::load::Pair;
use crate::config::{ListenerTls, Mistake, not_usable};

/// Certificates for the same names, the preferred first.
type Group = Vec<Arc<CertifiedKey>>;

/// Chooses a client's certificate.
#[derive(Debug)]
pub(super) struct Chooser {
    exact: HashMap<String, Group>,
    /// By what stands behind the `*`, with its dot.
    wildcard: HashMap<String, Group>,
    default: Group,
}

/// Read the certificates of a listener, of which `key` says where the configuration names it.
///
/// # Errors
/// Every mistake.
pub(super) fn load(tls: &ListenerTls, key: &str, provider: &CryptoProvider) -> Result<Vec<Arc<Pair>>, Vec<Mistake>> {
    let (mut pairs, mut mistakes) = (Vec::new(), Vec::new());
    for (i, files) in tls.certificates.iter().enumerate() {
        match Pair::load(files, provider) {
            Ok(pair) => pairs.push(Arc::new(pair)),
            Err(wrong) => {
                mistakes.extend(wrong.into_iter().map(|(which, message)| {
                    not_usable(files.at, &format!("{key}.certificates[{i}].{which}"), &message)
                }))
            }
        }
    }
    if mistakes.is_empty()
        && let Err((second, message)) = distinct(&pairs)
    {
        let at = tls.certificates.get(second).map(|files| files.at).unwrap_or_default();
        mistakes.push(not_usable(at, &format!("{key}.certificates[{second}].certificate"), &message));
    }
    if mistakes.is_empty() { Ok(pairs) } else { Err(mistakes) }
}

/// Whether it is clear which one a client gets.
///
/// # Errors
/// Which one is one too many, and why.
pub(super) fn distinct(pairs: &[Arc<Pair>]) -> Result<(), (usize, String)> {
    let mut seen: HashMap<(&str, &str), usize> = HashMap::new();
    for (i, pair) in pairs.iter().enumerate() {
        for name in &pair.names {
            let kind = kind(pair.algorithm());
            if let Some(first) = seen.insert((name, kind), i) {
                return Err((i, format!("is for {name} with {kind} key, and so is certificates[{first}]")));
            }
        }
    }
    Ok(())
}

fn kind(algorithm: SignatureAlgorithm) -> &'static str {
    match algorithm {
        SignatureAlgorithm::RSA => "an RSA",
        SignatureAlgorithm::ECDSA => "an ECDSA",
        SignatureAlgorithm::ED25519 => "an Ed25519",
        _ => "the same kind of",
    }
}

/// What a handshake with it costs us, in an order.
fn cost(algorithm: SignatureAlgorithm) -> u8 {
    match algorithm {
        SignatureAlgorithm::ECDSA => 0,
        SignatureAlgorithm::ED25519 => 1,
        _ => 2,
    }
}

impl Chooser {
    /// One for these.
    pub(super) fn new(pairs: &[Arc<Pair>]) -> Self {
        let mut by_cost: Vec<&Arc<Pair>> = pairs.iter().collect();
        by_cost.sort_by_key(|pair| cost(pair.algorithm()));
        let (mut exact, mut wildcard) = (HashMap::<String, Group>::new(), HashMap::<String, Group>::new());
        for pair in &by_cost {
            for name in &pair.names {
                let group = match name.strip_prefix('*') {
                    Some(suffix) => wildcard.entry(suffix.to_owned()),
                    None => exact.entry(name.clone()),
                };
                group.or_default().push(Arc::clone(&pair.key));
            }
        }
        let first = pairs.first();
        let like_first = by_cost.iter().filter(|pair| first.is_some_and(|first| first.names == pair.names));
        let default = like_first.map(|pair| Arc::clone(&pair.key)).collect();
        Chooser { exact, wildcard, default }
    }

    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let name = name.map(|name| match name.bytes().any(|b| b.is_ascii_uppercase()) {
            true => Cow::Owned(name.to_ascii_lowercase()),
            false => Cow::Borrowed(name),
        });
        let exact = name.as_ref().and_then(|name| self.exact.get(&**name));
        let wildcard = name.as_ref().and_then(|name| self.wildcard.get(name.get(name.find('.')?..)?));
        let mut candidates = exact.into_iter().chain(wildcard).flatten().peekable();
        if candidates.peek().is_some() { best(candidates, schemes) } else { best(self.default.iter(), schemes) }
    }
}

/// The first that the client understands. If it understands none, the handshake fails, and with one it says so.
fn best<'a>(
    mut candidates: impl Iterator<Item = &'a Arc<CertifiedKey>>,
    schemes: &[SignatureScheme],
) -> Option<Arc<CertifiedKey>> {
    let first = candidates.next()?;
    let mut all = std::iter::once(first).chain(candidates);
    Some(Arc::clone(all.find(|it| it.key.choose_scheme(schemes).is_some()).unwrap_or(first)))
}

impl ResolvesServerCert for Chooser {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}
