//! Listening sockets, bound before anything else starts.
//!
//! Pingora binds in a task: a port that is taken costs it thirty seconds of trying and then a panic that leaves the process
//! up and deaf. So we bind first, and hand the sockets to pingora by the table through which an upgrade inherits them.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use async_trait::async_trait;
use log::error;
use pingora_core::apps::ServerApp;
use pingora_core::listeners::tls::TlsSettings;
use pingora_core::server::{ListenFds, ShutdownWatch};
use pingora_core::services::Service as PingoraService;
use pingora_core::services::listening::Service;

use crate::config::{ListenAddress, ListenerTls};

/// A bound address.
pub(super) struct Socket {
    /// With the port that the system chose, where the configuration left it open.
    pub(super) address: ListenAddress,
    /// Absent when a running process is to hand it over.
    bound: Option<OwnedFd>,
}

/// Bind an address, or leave that to the process that we take over from.
pub(super) fn bind(address: &ListenAddress, take_over: bool) -> io::Result<Socket> {
    let (address, bound) = match address {
        _ if take_over => (address.clone(), None),
        ListenAddress::Tcp(address) => {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            (ListenAddress::Tcp(listener.local_addr()?), Some(listener.into()))
        }
        ListenAddress::Unix(path) => {
            let listener = bind_unix(path)?;
            listener.set_nonblocking(true)?;
            (address.clone(), Some(listener.into()))
        }
    };
    Ok(Socket { address, bound })
}

/// Bind a socket file. One that nobody listens on is left over and replaced; anything else that is there stays.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is not a socket"));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => return Err(io::ErrorKind::AddrInUse.into()),
        Ok(_) => fs::remove_file(path)?,
        Err(_) => {}
    }
    UnixListener::bind(path)
}

/// A pingora service that is given its sockets, and that ends the process if it cannot listen.
pub(super) struct Listening<A> {
    name: String,
    service: Option<Service<A>>,
    sockets: Vec<Socket>,
    threads: Option<usize>,
}

impl<A: ServerApp + Send + Sync + 'static> Listening<A> {
    pub(super) fn new(name: &str, app: A, threads: Option<usize>) -> Self {
        Listening {
            name: name.to_owned(),
            service: Some(Service::new(name.to_owned(), app)),
            sockets: Vec::new(),
            threads,
        }
    }

    /// Serve on this socket, too.
    pub(super) fn add(&mut self, socket: Socket, tls: Option<&ListenerTls>) -> pingora_core::Result<()> {
        if let Some(service) = &mut self.service {
            match (&socket.address, tls) {
                (ListenAddress::Tcp(address), None) => service.add_tcp(&address.to_string()),
                (ListenAddress::Tcp(address), Some(tls)) => {
                    let (certificate, key) = (tls.certificate.to_string_lossy(), tls.key.to_string_lossy());
                    let mut settings = TlsSettings::intermediate(&certificate, &key)?;
                    settings.enable_h2();
                    service.add_tls_with_settings(&address.to_string(), None, settings);
                }
                (ListenAddress::Unix(path), _) => service.add_uds(&path.to_string_lossy(), None),
            }
        }
        self.sockets.push(socket);
        Ok(())
    }
}

/// The name under which pingora looks for an inherited socket.
fn key(address: &ListenAddress) -> String {
    match address {
        ListenAddress::Tcp(address) => address.to_string(),
        ListenAddress::Unix(path) => path.to_string_lossy().into_owned(),
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> PingoraService for Listening<A> {
    async fn start_service(&mut self, fds: Option<ListenFds>, shutdown: ShutdownWatch, listeners_per_fd: usize) {
        if let Some(table) = &fds {
            let mut table = table.lock();
            for socket in self.sockets.drain(..) {
                if let Some(bound) = socket.bound {
                    table.add(key(&socket.address), bound.into_raw_fd());
                }
            }
        }
        let Some(mut service) = self.service.take() else { return };
        let task = async move { service.start_service(fds, shutdown, listeners_per_fd).await };
        if tokio::spawn(task).await.is_err() {
            // The panic itself has been logged. A process that looks alive and does not listen is worse than none.
            error!("{} cannot listen: stopping", self.name);
            std::process::exit(1);
        }
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn threads(&self) -> Option<usize> {
        self.threads
    }

    fn listen_addresses(&self) -> Option<Vec<String>> {
        Some(self.sockets.iter().map(|socket| key(&socket.address)).collect())
    }
}
