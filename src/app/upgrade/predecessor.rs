//! The process that is replaced: starts a successor or finds one, gives it what it has, and waits until it serves.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use log::info;

use super::wire::Wire;
use super::{Answer, Offer, Program, Ready, Secret, VERSION, Word};
use crate::app::listen::Socket;
use crate::front::SavedKeys;
use crate::pool::{SavedPool, bytes_of_process};

/// How often it is looked whether a process listens, or has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long a process may take to end that has failed.
const LAST_MOMENT: Duration = Duration::from_millis(500);
/// How long a successor that is ready may take to accept.
const TO_SERVE: Duration = Duration::from_secs(10);
/// How much of its error log is told.
const LAST_LINES: usize = 20;

/// Who the successor is.
#[derive(Clone, Debug)]
pub(in crate::app) enum How {
    /// A process that is still to be started.
    Start(Program),
    /// A process that somebody has started with `-u`.
    Waiting,
}

/// What a successor is given, and how long it may take.
pub(in crate::app) struct HandOver {
    pub(in crate::app) sockets: Vec<Socket>,
    pub(in crate::app) pools: Vec<SavedPool>,
    pub(in crate::app) tickets: SavedKeys,
    pub(in crate::app) upgrade_sock: PathBuf,
    pub(in crate::app) limit: Duration,
}

/// Hand over. Returns when the successor accepts connections; this process is then to stop accepting.
///
/// # Errors
/// Why it does not. Nothing has changed then, and nobody is left who would accept connections.
pub(in crate::app) fn hand_over(what: HandOver, how: How) -> Result<Ready, String> {
    let deadline = Instant::now() + what.limit;
    let offer = Offer {
        version: VERSION,
        pid: std::process::id(),
        listeners: what.sockets.iter().map(|socket| socket.written.to_string()).collect(),
        stderr: matches!(how, How::Start(_)),
        pools: serde_json::to_value(&what.pools).map_err(|e| e.to_string())?,
        secret: Some(Secret(*bytes_of_process())),
        tickets: what.tickets,
    };
    let mut files: Vec<OwnedFd> = what.sockets.into_iter().map(Socket::into_fd).collect();
    let place = &what.upgrade_sock;
    match how {
        How::Waiting => {
            let waits = connect(place, deadline).map_err(|e| format!("cannot talk on {}: {e}", place.display()))?;
            let mut wire = waits.ok_or_else(|| format!("no process started with -u waits on {}", place.display()))?;
            talk(&mut wire, offer, &files, what.limit)
        }
        How::Start(program) => {
            let stderr = io::stderr().as_fd().try_clone_to_owned().map_err(|e| e.to_string())?;
            files.insert(0, stderr);
            let mut successor = Successor::start(&program)?;
            let wire = successor.reach(place, deadline, what.limit);
            match wire.and_then(|mut wire| {
                let talked = talk(&mut wire, offer, &files, what.limit);
                if talked.is_err() {
                    successor.end(wire);
                }
                talked
            }) {
                Ok(ready) => {
                    successor.let_go();
                    Ok(ready)
                }
                Err(why) => Err(successor.bury(&why)),
            }
        }
    }
}

/// A connection to who listens there; none if nobody does.
fn connect(place: &Path, deadline: Instant) -> io::Result<Option<Wire>> {
    match UnixStream::connect(place) {
        Ok(stream) => Wire::new(stream, deadline).map(Some),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The conversation, up to the word that the successor serves.
fn talk(wire: &mut Wire, offer: Offer, files: &[OwnedFd], limit: Duration) -> Result<Ready, String> {
    let broken = |e: io::Error| match e.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => {
            "the new process ended before it served".to_owned()
        }
        ErrorKind::TimedOut => format!("the new process was not ready within {limit:?}"),
        _ => format!("the new process cannot be understood: {e}"),
    };
    match wire.receive().map_err(&broken)? {
        Word::Hello { version: VERSION, pid } => info!("handing over to process {pid}"),
        Word::Hello { version, .. } => {
            return Err(format!("the new process speaks version {version} of the hand-over, not {VERSION}"));
        }
        other => return Err(format!("the new process began with {other:?}")),
    }
    wire.send(&Answer::Offer(offer)).map_err(&broken)?;
    wire.send_files(files).map_err(&broken)?;
    let ready = match wire.receive().map_err(&broken)? {
        Word::Ready(ready) => ready,
        Word::Failed { why } => return Err(format!("the new process cannot serve: {why}")),
        other => return Err(format!("the new process said {other:?} before it was ready")),
    };
    wire.set_deadline(Instant::now() + TO_SERVE);
    wire.send(&Answer::Go).map_err(&broken)?;
    match wire.receive() {
        Ok(Word::Serving) => Ok(ready),
        Ok(other) => Err(format!("the new process said {other:?} instead of serving")),
        Err(e) if matches!(e.kind(), ErrorKind::TimedOut) => {
            Err(format!("the new process was ready, and did not serve within {TO_SERVE:?}"))
        }
        Err(e) => Err(broken(e)),
    }
}

/// A process that was started to take our place.
struct Successor {
    child: Child,
    said: Arc<Mutex<VecDeque<String>>>,
    relay: Option<JoinHandle<()>>,
}

impl Successor {
    fn start(program: &Program) -> Result<Self, String> {
        let mut command = program.command();
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let path = program.path().display();
        let mut child = command.spawn().map_err(|e| format!("cannot start {path}: {e}"))?;
        info!("started {path} as process {} to take over", child.id());
        let said = Arc::default();
        let relay = child.stderr.take().map(|stderr| {
            let said = Arc::clone(&said);
            thread::spawn(move || relay(stderr, &said))
        });
        Ok(Successor { child, said, relay })
    }

    /// Wait until it listens.
    fn reach(&mut self, place: &Path, deadline: Instant, limit: Duration) -> Result<Wire, String> {
        loop {
            if let Ok(Some(_)) = self.child.try_wait() {
                return Err("the new process ended before it served".to_owned());
            }
            match connect(place, deadline) {
                Ok(Some(wire)) => return Ok(wire),
                Ok(None) => {}
                Err(e) => return Err(format!("cannot talk on {}: {e}", place.display())),
            }
            if Instant::now() >= deadline {
                return Err(format!("the new process was not ready within {limit:?}"));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// It goes on without us. Somebody still has to take note of its end, should it end before us.
    fn let_go(mut self) {
        thread::spawn(move || self.child.wait());
    }

    /// Have whoever we have talked to not serve: it may be a child of the one that was started.
    fn end(&self, wire: Wire) {
        let peer = wire.peer().filter(|peer| u32::try_from(peer.as_raw_pid()) != Ok(self.child.id()));
        drop(wire);
        if let Some(peer) = peer {
            // An error means that it is gone.
            let _ = rustix::process::kill_process(peer, rustix::process::Signal::KILL);
        }
    }

    /// See to its end, and tell all that is known of why.
    fn bury(mut self, why: &str) -> String {
        let began = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && began.elapsed() < LAST_MOMENT {
            thread::sleep(LOOK_EVERY);
        }
        let ended = matches!(self.child.try_wait(), Ok(Some(_)));
        // An error means that it is gone.
        let _ = self.child.kill();
        let how = match self.child.wait() {
            Ok(status) if ended => format!(" ({status})"),
            _ => " (killed)".to_owned(),
        };
        // Not longer: who has inherited its standard error may live on.
        while self.relay.as_ref().is_some_and(|relay| !relay.is_finished()) && began.elapsed() < 2 * LAST_MOMENT {
            thread::sleep(LOOK_EVERY);
        }
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said: String = said.iter().map(|line| format!("\n  {line}")).collect();
        let last = if said.is_empty() { "" } else { ". Its last words:" };
        format!("{why}{how}{last}{said}")
    }
}

/// Pass on what a successor writes until it has our standard error itself, and keep the end of it.
fn relay(stderr: ChildStderr, said: &Mutex<VecDeque<String>>) {
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        let _ = writeln!(io::stderr(), "{line}");
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() >= LAST_LINES {
            said.pop_front();
        }
        said.push_back(line);
    }
}
