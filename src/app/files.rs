//! What stands in the files that a configuration names: a reload sees that a certificate or a secret is another one, though the
//! configuration says the same.

use std::fs;
use std::path::PathBuf;

use ring::digest::{Context, SHA256};

use crate::config::{Listener, Pool, Probe};

/// A digest of what stands in the files that a pool names; empty if it names none.
pub(super) fn of_pool(pool: &Pool, ca_file: Option<&str>) -> Vec<u8> {
    let secret = pool.sticky.as_ref().and_then(|sticky| sticky.secret_file.clone());
    let authorities = pool.health_check.as_ref().and_then(|check| authorities(&check.probe, ca_file));
    let tls = pool.transport.tls.iter().flat_map(|tls| {
        let ca = tls.ca.clone().or_else(|| ca_file.map(PathBuf::from));
        ca.into_iter().chain(tls.client.iter().flat_map(|client| [client.certificate.clone(), client.key.clone()]))
    });
    digest(secret.into_iter().chain(authorities).chain(tls))
}

/// The same of a listener.
pub(super) fn of_listener(listener: &Listener) -> Vec<u8> {
    digest(named(listener))
}

/// The files that a listener names, in their order.
pub(super) fn named(listener: &Listener) -> impl Iterator<Item = PathBuf> {
    listener.tls.iter().flat_map(|tls| tls.files()).cloned()
}

/// The same of a probe.
pub(super) fn of_probe(probe: &Probe, ca_file: Option<&str>) -> Vec<u8> {
    let client = probe.tls().and_then(|(_, tls)| tls.client.clone());
    let client = client.into_iter().flat_map(|client| [client.certificate, client.key]);
    digest(authorities(probe, ca_file).into_iter().chain(client))
}

/// Where it says whom a probe trusts, if it speaks TLS.
fn authorities(probe: &Probe, ca_file: Option<&str>) -> Option<PathBuf> {
    let (_, tls) = probe.tls()?;
    tls.ca.clone().or_else(|| ca_file.map(PathBuf::from))
}

/// The same of files.
pub(super) fn digest(paths: impl Iterator<Item = PathBuf>) -> Vec<u8> {
    let mut paths = paths.peekable();
    if paths.peek().is_none() {
        return Vec::new();
    }
    let mut context = Context::new(&SHA256);
    for path in paths {
        // Whether it can be used is found out where it is used.
        let text = fs::read(&path).unwrap_or_default();
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(&text);
    }
    context.finish().as_ref().to_vec()
}
