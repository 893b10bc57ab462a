//! Messages and sockets between two processes: JSON behind its length, and file descriptors in batches.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Of file descriptors; the kernel takes 253 at most.
const BATCH: usize = 32;
/// Ten thousand backends are two or three megabytes.
const LONGEST: u32 = 256 << 20;

/// A connection on which everything has to be done by a certain moment.
#[derive(Debug)]
pub(super) struct Wire {
    stream: UnixStream,
    deadline: Instant,
}

impl Wire {
    /// A connection to somebody who may have what we have.
    ///
    /// # Errors
    /// That it is somebody else, or what the system says.
    pub(super) fn new(stream: UnixStream, deadline: Instant) -> io::Result<Self> {
        let peer = rustix::net::sockopt::socket_peercred(&stream)?;
        if !(peer.uid.is_root() || peer.uid == rustix::process::geteuid()) {
            let why = format!("the process there is user {}'s, not ours", peer.uid.as_raw());
            return Err(io::Error::new(ErrorKind::PermissionDenied, why));
        }
        stream.set_nonblocking(false)?;
        Ok(Wire { stream, deadline })
    }

    /// The process at the other end, or the one that it was when the connection was made.
    pub(super) fn peer(&self) -> Option<rustix::process::Pid> {
        rustix::net::sockopt::socket_peercred(&self.stream).ok().map(|peer| peer.pid)
    }

    /// Whether the other end is there, and has nothing to say.
    pub(super) fn waits(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        matches!(rustix::net::recv(&self.stream, &mut [0_u8; 1], flags), Err(e) if e == rustix::io::Errno::WOULDBLOCK)
    }

    /// Have everything done by then.
    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }

    pub(super) fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_vec(message)?;
        let length = u32::try_from(text.len()).map_err(io::Error::other)?;
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write_all(&length.to_be_bytes())?;
        self.stream.write_all(&text)
    }

    pub(super) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let mut length = [0; 4];
        self.read(&mut length)?;
        let length = u32::from_be_bytes(length);
        if length > LONGEST {
            return Err(io::Error::new(ErrorKind::InvalidData, "a message of more than 256 MiB"));
        }
        let mut text = vec![0; length as usize];
        self.read(&mut text)?;
        Ok(serde_json::from_slice(&text)?)
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let mut read = 0;
        while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
            self.stream.set_read_timeout(Some(self.left()?))?;
            match self.stream.read(rest) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => read += n,
                Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    pub(super) fn send_files(&mut self, files: &[OwnedFd]) -> io::Result<()> {
        for batch in files.chunks(BATCH) {
            let batch: Vec<BorrowedFd<'_>> = batch.iter().map(AsFd::as_fd).collect();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
            let mut rights = SendAncillaryBuffer::new(&mut space);
            if !rights.push(SendAncillaryMessage::ScmRights(&batch)) {
                return Err(io::Error::other("too many sockets at once"));
            }
            self.stream.set_write_timeout(Some(self.left()?))?;
            sendmsg(&self.stream, &[IoSlice::new(b"+")], &mut rights, SendFlags::NOSIGNAL)?;
        }
        Ok(())
    }

    pub(super) fn receive_files(&mut self, count: usize) -> io::Result<Vec<OwnedFd>> {
        let mut files = Vec::new();
        while files.len() < count {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
            let mut rights = RecvAncillaryBuffer::new(&mut space);
            let mut byte = [0];
            self.stream.set_read_timeout(Some(self.left()?))?;
            let slices = &mut [IoSliceMut::new(&mut byte)];
            let received = recvmsg(&self.stream, slices, &mut rights, RecvFlags::CMSG_CLOEXEC)?;
            if received.bytes == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if received.flags.contains(ReturnFlags::CTRUNC) {
                return Err(io::Error::other("more open files than this process may have (ulimit -n)"));
            }
            for message in rights.drain() {
                if let RecvAncillaryMessage::ScmRights(batch) = message {
                    files.extend(batch);
                }
            }
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::thread;

    use super::*;

    fn pair() -> (Wire, Wire) {
        let (one, other) = UnixStream::pair().unwrap();
        let soon = Instant::now() + Duration::from_secs(10);
        (Wire::new(one, soon).unwrap(), Wire::new(other, soon).unwrap())
    }

    #[test]
    fn messages_and_more_files_than_fit_at_once_arrive_in_order() {
        let (mut one, mut other) = pair();
        let text = "x".repeat(3 << 20);
        let files: Vec<OwnedFd> = (0..150).map(|_| File::open("/dev/null").unwrap().into()).collect();
        let inode = |file: &OwnedFd| rustix::fs::fstat(file).unwrap().st_rdev;
        let sent = text.clone();
        let sender = thread::spawn(move || {
            one.send(&sent).unwrap();
            one.send_files(&files).unwrap();
            one.send(&"behind").unwrap();
            files.iter().map(inode).collect::<Vec<_>>()
        });
        assert_eq!(other.receive::<String>().unwrap(), text);
        let received = other.receive_files(150).unwrap();
        assert_eq!(other.receive::<String>().unwrap(), "behind");
        assert_eq!(received.iter().map(inode).collect::<Vec<_>>(), sender.join().unwrap());
        let closed_on_exec = rustix::io::fcntl_getfd(&received[149]).unwrap();
        assert!(closed_on_exec.contains(rustix::io::FdFlags::CLOEXEC) && received[149].as_raw_fd() > 2);
    }

    #[test]
    fn silence_an_end_and_nonsense_are_errors() {
        let (mut one, mut other) = pair();
        other.set_deadline(Instant::now() + Duration::from_millis(20));
        assert_eq!(other.receive::<String>().unwrap_err().kind(), ErrorKind::TimedOut);
        other.set_deadline(Instant::now() + Duration::from_secs(10));
        one.stream.write_all(&u32::MAX.to_be_bytes()).unwrap();
        assert_eq!(other.receive::<String>().unwrap_err().kind(), ErrorKind::InvalidData);
        drop(one);
        assert_eq!(other.receive::<String>().unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(other.receive_files(1).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
}
