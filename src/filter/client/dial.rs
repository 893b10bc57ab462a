//! TLS towards what filters ask: whom to believe that it is who it says.

use std::path::Path;
use std::sync::Arc;

use pingora_core::tls::{
    TlsConnector, install_default_crypto_provider, load_ca_file_into_store, load_platform_certs_incl_env_into_store,
};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};

/// What makes TLS connections, and trusts the authorities in `ca`, or without it the system's.
///
/// # Errors
/// That there is nobody to trust.
pub(super) fn connector(ca: Option<&Path>) -> Result<TlsConnector, String> {
    let store = match ca {
        Some(file) => authorities(file)?,
        None => system()?,
    };
    install_default_crypto_provider();
    let provider = CryptoProvider::get_default().ok_or("there is no cryptography to use")?;
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider)).with_safe_default_protocol_versions();
    let mut client = builder.map_err(|e| e.to_string())?.with_root_certificates(store).with_no_client_auth();
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(client)))
}

fn authorities(file: &Path) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    let loaded = load_ca_file_into_store(file, &mut store);
    loaded.map_err(|e| format!("cannot use {}: {}", file.display(), e.root_cause()))?;
    match store.is_empty() {
        true => Err(format!("{} has no CERTIFICATE in it", file.display())),
        false => Ok(store),
    }
}

fn system() -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    load_platform_certs_incl_env_into_store(&mut store).map_err(|e| e.root_cause().to_string())?;
    match store.is_empty() {
        true => Err("this system trusts no authority; install some, or name yours in 'ca'".to_owned()),
        false => Ok(store),
    }
}
