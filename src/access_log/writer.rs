//! The thread that writes the access log, and what it is told.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use log::{error, warn};

use crate::config::LogPath;

/// How many lines may wait for the writer: a second or so of traffic, and a few megabytes.
const QUEUE: usize = 16 * 1024;

/// How long the last lines of a process may take.
const LAST_LINES: Duration = Duration::from_secs(1);

type Out = Box<dyn Write + Send>;

/// What the thread is told.
enum Message {
    Line(String),
    /// Go on with this.
    Out(Out),
    /// Say when everything before is written.
    Flush(SyncSender<()>),
}

pub(super) struct Writer {
    /// Its thread begins with the first line: one that began before the process becomes a daemon would stay behind.
    messages: OnceLock<Option<SyncSender<Message>>>,
    out: Mutex<Option<Out>>,
    /// Absolute: a daemon changes its folder.
    file: Option<PathBuf>,
    dropped: AtomicU64,
}

impl Writer {
    pub(super) fn open(path: &LogPath) -> io::Result<Self> {
        let (out, file): (Out, _) = match path {
            LogPath::Stdout => (Box::new(io::stdout()), None),
            LogPath::Stderr => (Box::new(io::stderr()), None),
            LogPath::File(path) => (Box::new(append(path)?), Some(std::path::absolute(path)?)),
        };
        let (messages, out, dropped) = (OnceLock::new(), Mutex::new(Some(out)), AtomicU64::new(0));
        Ok(Writer { messages, out, file, dropped })
    }

    /// Lines that could not be kept.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    pub(super) fn write(&self, line: String) {
        let messages = self.messages.get_or_init(|| self.start());
        let kept = messages.as_ref().is_some_and(|messages| messages.try_send(Message::Line(line)).is_ok());
        if !kept {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Go on in a file of the same name, which is another if somebody has moved the one that is open. Lines that wait go into
    /// the old one. Waits for room in the queue.
    pub(super) fn reopen(&self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let opened: Out = Box::new(append(file)?);
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        match self.messages.get() {
            None => *out = Some(opened),
            Some(Some(messages)) => {
                drop(out);
                // Refused only by a thread that is gone, which has been logged.
                let _ = messages.send(Message::Out(opened));
            }
            Some(None) => {}
        }
        Ok(())
    }

    /// Wait until everything is written, but not for ever.
    pub(super) fn flush(&self) {
        let Some(Some(messages)) = self.messages.get() else { return };
        let (done, wait) = sync_channel(1);
        if messages.try_send(Message::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(LAST_LINES);
        }
    }

    /// Start the thread that writes; `None`, with a word in the error log, if the system has none to give.
    fn start(&self) -> Option<SyncSender<Message>> {
        let out = self.out.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let (messages, waiting) = sync_channel(QUEUE);
        let thread = thread::Builder::new().name("access log".to_owned());
        match thread.spawn(move || write_all(&waiting, out)) {
            Ok(_) => Some(messages),
            Err(e) => {
                error!("the access log has no writer: {e}");
                None
            }
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// Write lines until nobody can send any more; flush whenever none is waiting.
fn write_all(waiting: &Receiver<Message>, out: Out) {
    let mut out = BufWriter::with_capacity(64 * 1024, out);
    let mut failed = false;
    while let Ok(message) = waiting.recv() {
        let mut result = take_in(message, &mut out);
        while let Ok(message) = waiting.try_recv() {
            result = result.and(take_in(message, &mut out));
        }
        result = result.and(out.flush());
        // Once, on entering: a full disk would otherwise fill the error log too.
        match (&result, failed) {
            (Err(e), false) => warn!("the access log cannot be written: {e}"),
            (Ok(()), true) => warn!("the access log can be written again"),
            _ => {}
        }
        failed = result.is_err();
    }
}

fn take_in(message: Message, out: &mut BufWriter<Out>) -> io::Result<()> {
    match message {
        Message::Line(line) => writeln!(out, "{line}"),
        Message::Out(next) => {
            let flushed = out.flush();
            let before = std::mem::replace(out, BufWriter::with_capacity(64 * 1024, next));
            // What a full disk has not taken is not tried again in the new file's time.
            drop(before.into_parts());
            flushed
        }
        Message::Flush(done) => {
            let flushed = out.flush();
            let _ = done.try_send(());
            flushed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_moved_gets_what_was_written_before_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
        let writer = Writer::open(&LogPath::File(path.clone())).unwrap();
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        std::fs::rename(&path, &moved).unwrap();
        writer.reopen().unwrap();
        writer.write("1".to_owned());
        writer.write("2".to_owned());
        writer.flush();
        assert_eq!((read(&path).as_str(), read(&moved).as_str()), ("1\n2\n", ""), "before its thread began");
        std::fs::rename(&path, &moved).unwrap();
        writer.write("3".to_owned());
        writer.reopen().unwrap();
        writer.write("4".to_owned());
        writer.flush();
        assert_eq!((read(&path).as_str(), read(&moved).as_str()), ("4\n", "1\n2\n3\n"));
        std::fs::remove_dir_all(dir.path()).unwrap();
        assert!(writer.reopen().is_err(), "and the open one is gone on with");
        assert_eq!(writer.dropped(), 0);
    }
}
