//! What a valid file still needs from where it is used: files that can be read, a folder to write to, names that resolve.
//!
//! Apart from the reading itself, because the answers change from one machine and minute to the next. Without its files
//! nothing starts; a name that does not resolve is looked up again while the rest is served.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::net::ToSocketAddrs;
use std::path::Path;

use pingora_core::tls::sign::CertifiedKey;
use pingora_core::tls::{CryptoProvider, install_default_crypto_provider, load_certs_and_key_files};

use super::{BackendAddress, BackendTls, Config, LogPath, Mistake, Place, Position, Source, Sticky};

/// How many names are looked up at a time: one dead name server must not make the check take minutes.
const LOOKUPS: usize = 16;

/// What keeps a valid configuration from being used on this machine, now.
pub fn environment(config: &Config) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    if let Some(LogPath::File(path)) = config.access_log.as_ref().map(|log| &log.path)
        && let Err(e) = appendable(path)
    {
        let message = format!("cannot write to {}: {}", path.display(), reason(&e));
        mistakes.push(not_usable(Position::default(), "access_log.path", &message));
    }
    if let Some(path) = &config.server.ca_file
        && let Err(message) = authorities(path)
    {
        mistakes.push(not_usable(Position::default(), "ca_file", &message));
    }
    for pool in &config.pools {
        if let Some(tls) = &pool.transport.tls {
            backend_tls(tls, &format!("pools.{}.tls", pool.name), &mut mistakes);
        }
        if let Some(sticky) = &pool.sticky
            && let Err(message) = sticky.secret()
        {
            mistakes.push(not_usable(sticky.at, &format!("pools.{}.sticky.secret_file", pool.name), &message));
        }
        if let Some(check) = &pool.health_check
            && let Some((key, tls)) = check.probe.tls()
            && let Some(Err(message)) = tls.ca.as_ref().map(|path| authorities(&path.to_string_lossy()))
        {
            let key = format!("pools.{}.health_check.{key}.ca", pool.name);
            mistakes.push(not_usable(check.at, &key, &message));
        }
    }
    mistakes.sort_by_key(|mistake| mistake.at);
    mistakes
}

impl Sticky {
    /// What stands in `secret_file` now, but for the newline at its end; `None` if there is no such file to read.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn secret(&self) -> Result<Option<Vec<u8>>, String> {
        let Some(path) = &self.secret_file else {
            return Ok(None);
        };
        let shown = path.display();
        let bytes = regular(path).map_err(|e| format!("cannot read {shown}: {}", reason(&e)))?;
        let endings: [&[u8]; 2] = [b"\r\n", b"\n"];
        let secret = endings.into_iter().find_map(|end| bytes.strip_suffix(end)).unwrap_or(&bytes);
        if secret.len() < Sticky::MIN_SECRET {
            return Err(format!("{shown} must hold at least {} bytes, got {}", Sticky::MIN_SECRET, secret.len()));
        }
        Ok(Some(secret.to_vec()))
    }
}

/// The bytes of a file; to read a device might never end.
fn regular(path: &Path) -> io::Result<Vec<u8>> {
    let found = fs::metadata(path)?;
    if !found.is_file() && !found.is_dir() {
        return Err(io::Error::other("it is not a regular file"));
    }
    fs::read(path)
}

/// Pingora panics over a list of authorities that it cannot read.
fn authorities(path: &str) -> Result<(), String> {
    let pem = fs::read_to_string(path).map_err(|e| format!("cannot read {path}: {}", reason(&e)))?;
    if pem.contains("BEGIN CERTIFICATE") { Ok(()) } else { Err(format!("{path} has no CERTIFICATE in it")) }
}

/// The backend names that do not resolve on this machine, now. A process starts all the same.
pub fn unresolved(config: &Config) -> Vec<Mistake> {
    names(config, resolve)
}

/// A mistake of the surroundings rather than of the file.
pub(crate) fn not_usable(at: impl Into<Position>, key: &str, message: &str) -> Mistake {
    Mistake::new(at, key, format!("not usable here: {message}"))
}

/// What stands in a file of `most` bytes at most. Of anything but a plain file it is not asked: a pipe may never answer, and a
/// device never end.
///
/// # Errors
/// Why there is none, in the words of a person.
pub(crate) fn contents(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let file = fs::metadata(path).map_err(|e| reason(&e))?;
    if !file.is_file() {
        return Err(if file.is_dir() { "it is a directory" } else { "it is no plain file" }.to_owned());
    }
    let mut contents = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut contents));
    read.map_err(|e| reason(&e))?;
    if contents.len() as u64 > most {
        return Err(format!("has {} bytes, and may have {most}", file.len().max(most + 1)));
    }
    Ok(contents)
}

/// An I/O error in the words of a person.
pub(crate) fn reason(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::NotFound => "no such file or folder".to_owned(),
        io::ErrorKind::PermissionDenied => "no permission".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => e.to_string(),
    }
}

/// Pingora panics over a certificate that it cannot use.
fn shown(paths: (&Path, &Path), at: Place, key: &str, mistakes: &mut Vec<Mistake>) {
    let mut wrong = |which: &str, message: &str| mistakes.push(not_usable(at, &format!("{key}.{which}"), message));
    let mut readable = true;
    for (which, path) in [("certificate", paths.0), ("key", paths.1)] {
        if let Err(e) = fs::read(path) {
            wrong(which, &format!("cannot read {}: {}", path.display(), reason(&e)));
            readable = false;
        }
    }
    if readable && let Err((which, message)) = pair(paths.0, paths.1) {
        wrong(which, &message);
    }
}

/// What is shown to backends, and whom they must be signed by.
fn backend_tls(tls: &BackendTls, key: &str, mistakes: &mut Vec<Mistake>) {
    if let Some(Err(message)) = tls.ca.as_ref().map(|path| authorities(&path.to_string_lossy())) {
        mistakes.push(not_usable(tls.at, &format!("{key}.ca"), &message));
    }
    if let Some(client) = &tls.client {
        shown((&client.certificate, &client.key), tls.at, key, mistakes);
    }
}

/// Are these a certificate and its key? If not: which of the two is wrong, and how.
fn pair(certificate: &Path, key: &Path) -> Result<(), (&'static str, String)> {
    let mut paths = [("certificate", certificate, ""), ("key", key, "")];
    for (which, path, text) in &mut paths {
        *text = path.to_str().ok_or((*which, "the path is not UTF-8".to_owned()))?;
        // Each file beside itself: the loader does not say which of two it could not parse.
        if load_certs_and_key_files(text, text).is_err() {
            return Err((*which, format!("{text} is not valid PEM")));
        }
    }
    let [(_, _, certificate), (_, _, key)] = paths;
    let Ok(Some((chain, private))) = load_certs_and_key_files(certificate, key) else {
        let has_certificate = fs::read_to_string(certificate).is_ok_and(|pem| pem.contains("BEGIN CERTIFICATE"));
        return Err(match has_certificate {
            false => ("certificate", format!("{certificate} has no CERTIFICATE in it")),
            true => ("key", format!("{key} has no unencrypted PRIVATE KEY in it")),
        });
    };
    install_default_crypto_provider();
    match CryptoProvider::get_default().map(|provider| CertifiedKey::from_der(chain, private, provider)) {
        Some(Err(e)) => Err(("certificate", format!("the certificate and the key do not fit: {e}"))),
        _ => Ok(()),
    }
}

/// Look up every backend name once, several at a time.
pub(super) fn names(config: &Config, look_up: impl Fn((&str, u16)) -> Result<(), String> + Sync) -> Vec<Mistake> {
    let look_up = &look_up;
    let mut mistakes = Vec::new();
    let mut places: HashMap<(&str, u16), Vec<(Position, String)>> = HashMap::new();
    for pool in &config.pools {
        let Source::Backends(backends) = &pool.source else {
            continue;
        };
        for (i, backend) in backends.iter().enumerate() {
            if let BackendAddress::Name(name, port) = &backend.address {
                let key = format!("pools.{}.backends[{i}]", pool.name);
                places.entry((name, *port)).or_default().push((backend.at.into(), key));
            }
        }
    }
    let lookups: Vec<_> = places.into_iter().collect();
    for chunk in lookups.chunks(LOOKUPS) {
        let answers: Vec<_> = std::thread::scope(|scope| {
            let running: Vec<_> = chunk.iter().map(|(name, _)| scope.spawn(|| look_up(*name))).collect();
            running.into_iter().map(|thread| thread.join().unwrap_or(Ok(()))).collect()
        });
        for (((name, _), places), answer) in chunk.iter().zip(answers) {
            let Err(message) = answer else { continue };
            for (at, key) in places {
                let message = format!("cannot resolve '{name}' here, it will be tried again while running: {message}");
                mistakes.push(Mistake::new(*at, key, message));
            }
        }
    }
    mistakes.sort_by_key(|mistake| mistake.at);
    mistakes
}

fn resolve(name: (&str, u16)) -> Result<(), String> {
    match name.to_socket_addrs().map(|mut addresses| addresses.next()) {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err("it has no address".to_owned()),
        Err(e) => Err(e.to_string()),
    }
}

/// Could `path` be appended to? Leaves no file behind that was not there before.
fn appendable(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) if found.is_file() => OpenOptions::new().append(true).open(path).map(drop),
        // A pipe or a device: to open one may wait for its reader.
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            OpenOptions::new().append(true).create_new(true).open(path)?;
            fs::remove_file(path)
        }
        Err(e) => Err(e),
    }
}
