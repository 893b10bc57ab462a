//! Listening sockets, bound before anything else starts.
//!
//! Pingora binds in a task: a port that is taken costs it thirty seconds of trying and then a panic that leaves the process
//! up and deaf. So we bind first, and hand the sockets to pingora by the table through which it inherits them. We keep a
//! handle of each: to pass it on to a successor, or to serve on with it.

use std::fs::{self, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use pingora_core::apps::ServerApp;
use pingora_core::listeners::ListenerConfig;
use pingora_core::protocols::l4::stream::L4BufferSettings;
use pingora_core::server::{ListenFds, ShutdownWatch};
use pingora_core::services::Service as PingoraService;
use pingora_core::services::listening::Service;
use rustix::net::sockopt::socket_acceptconn;

use crate::config::ListenAddress;

/// Nothing is read but into a buffer of who wants it; pingora's 64 KiB for each connection are not needed. What is written is
/// collected as pingora does it, so that a small response is one packet.
const BUFFERS: L4BufferSettings = L4BufferSettings { read: Some(0), write: None };

/// A bound address.
#[derive(Debug)]
pub(super) struct Socket {
    /// As a configuration wrote it.
    pub(super) written: ListenAddress,
    /// With the port that the system chose, where the configuration left it open.
    pub(super) address: ListenAddress,
    bound: OwnedFd,
}

impl Socket {
    /// One that somebody else has bound.
    ///
    /// # Errors
    /// That it is none, or does not listen.
    pub(super) fn adopt(bound: OwnedFd) -> io::Result<Self> {
        if !socket_acceptconn(&bound)? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket does not listen"));
        }
        let name = rustix::net::getsockname(&bound)?;
        let address = if let Ok(address) = SocketAddr::try_from(name.clone()) {
            TcpListener::from(bound.try_clone()?).set_nonblocking(true)?;
            ListenAddress::Tcp(address)
        } else {
            let listener = UnixListener::from(bound.try_clone()?);
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            let path = address.as_pathname().ok_or(io::ErrorKind::InvalidInput)?;
            ListenAddress::Unix(path.to_path_buf())
        };
        rustix::io::fcntl_setfd(&bound, rustix::io::FdFlags::CLOEXEC)?;
        Ok(Socket { written: address.clone(), address, bound })
    }

    /// Whether its file is gone.
    pub(super) fn is_lost(&self) -> bool {
        matches!(&self.address, ListenAddress::Unix(path) if fs::symlink_metadata(path).is_err())
    }

    /// Whether clients find it, and pingora may serve on it: it sets the mode of a socket's file, and panics where it cannot.
    pub(super) fn usable(&self) -> io::Result<()> {
        match &self.address {
            ListenAddress::Tcp(_) => Ok(()),
            ListenAddress::Unix(path) => fs::set_permissions(path, Permissions::from_mode(0o666)),
        }
    }

    /// Another handle of the same socket.
    pub(super) fn share(&self) -> io::Result<Self> {
        Ok(Socket { written: self.written.clone(), address: self.address.clone(), bound: self.bound.try_clone()? })
    }

    /// The socket itself.
    pub(super) fn into_fd(self) -> OwnedFd {
        self.bound
    }
}

/// Bind an address.
pub(super) fn bind(written: &ListenAddress) -> io::Result<Socket> {
    let (address, bound) = match written {
        ListenAddress::Tcp(address) => {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            (ListenAddress::Tcp(listener.local_addr()?), listener.into())
        }
        ListenAddress::Unix(path) => {
            let listener = bind_unix(path)?;
            listener.set_nonblocking(true)?;
            (written.clone(), listener.into())
        }
    };
    Ok(Socket { written: written.clone(), address, bound })
}

/// Take the socket for an address out of those that somebody else has bound.
pub(super) fn take(written: &ListenAddress, sockets: &mut Vec<Socket>) -> Option<Socket> {
    let find = |same: fn(&Socket) -> &ListenAddress| sockets.iter().position(|socket| same(socket) == written);
    let found = find(|socket| &socket.written).or_else(|| find(|socket| &socket.address))?;
    Some(sockets.remove(found))
}

/// Bind a socket file. One that nobody listens on is left over and replaced; anything else that is there stays.
pub(super) fn bind_unix(path: &Path) -> io::Result<UnixListener> {
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

/// The name under which pingora looks for an inherited socket.
fn key(address: &ListenAddress) -> String {
    match address {
        ListenAddress::Tcp(address) => address.to_string(),
        ListenAddress::Unix(path) => path.to_string_lossy().into_owned(),
    }
}

/// Ready to serve on one socket, by pingora's service for that.
pub(super) struct Opening<A> {
    service: Service<A>,
    /// Ours until we accept: what is not wanted after all is closed with it.
    socket: Socket,
}

impl<A: ServerApp + Send + Sync + 'static> Opening<A> {
    /// Get ready to serve `app` on this socket.
    pub(super) fn new(app: A, socket: Socket) -> Self {
        let key = key(&socket.address);
        let mut service = Service::new(key.clone(), app);
        // TLS is not pingora's to speak: `front` does.
        let config = match &socket.address {
            ListenAddress::Tcp(_) => ListenerConfig::tcp(&key),
            ListenAddress::Unix(_) => ListenerConfig::uds(&key),
        };
        service.add_listener(config.l4_buffer(BUFFERS));
        Opening { service, socket }
    }

    /// Accept until `stop`; returns when no more is accepted. Panics if pingora cannot listen.
    pub(super) async fn accept(mut self, stop: ShutdownWatch, tasks: usize) {
        // A table of its own for each: pingora's never forgets a socket, and would close one that is not its any more.
        let fds = ListenFds::new(parking_lot::Mutex::new(pingora_core::server::Fds::new()));
        fds.lock().add(key(&self.socket.address), self.socket.bound.into_raw_fd());
        self.service.start_service(Some(fds), stop, tasks).await;
    }
}
