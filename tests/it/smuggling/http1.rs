//! The corpus over HTTP/1: what is ambiguous gets a 400 and reaches no backend, everything else arrives in one form.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use super::case::{self, Case};
use super::recorder::{self, Recorder, shown};
use crate::support::evenkeel::pool;
use crate::support::{Evenkeel, LIMIT};

/// Sent behind every message, on its connection: it is a request of its own, or nothing.
const MARKER: &[u8] = b"GET /marker HTTP/1.1\r\nHost: test\r\n\r\n";
/// Sent after every message, on another connection: what arrives before it belongs to the message.
const FENCE: &[u8] = b"GET /fence HTTP/1.1\r\nHost: test\r\n\r\n";

pub struct Stage {
    pub evenkeel: Evenkeel,
    pub recorder: Recorder,
}

impl Stage {
    /// An Evenkeel before a backend that records, with more keys at the top.
    pub fn set(more: &str) -> Stage {
        let recorder = Recorder::start();
        let headers = "forwarded_headers: { x_forwarded: drop }\nlimits: { body_timeout: 2s }\n";
        let yaml = format!("{headers}{more}{}", pool(&[recorder.address], "health_check: off\nejection: off"));
        Stage { evenkeel: Evenkeel::start(&yaml), recorder }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.evenkeel.http()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LIMIT / 5)).unwrap();
        stream
    }

    /// What has arrived at the backend until now, each connection by itself, without what is ours to add.
    fn arrivals(&self) -> Vec<(usize, Vec<u8>)> {
        let mut stream = self.connect();
        stream.write_all(FENCE).unwrap();
        let answer = until_answers(&mut stream, 1);
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "the fence: {}", shown(&answer));
        self.recorder.take()
    }

    /// What has arrived at the backend until now, in the order of its coming, without what is ours to add.
    pub fn arrived(&self) -> Vec<u8> {
        let all: Vec<u8> = self.arrivals().into_iter().flat_map(|(_, bytes)| bytes).collect();
        let all = without_request_ids(&all);
        all.strip_suffix(FENCE).unwrap_or_else(|| panic!("behind the fence: {}", shown(&all))).to_vec()
    }

    /// What has arrived and is no part of a request that was begun and not ended. Of those nobody waits for the arrival.
    pub fn arrived_whole(&self) -> Vec<u8> {
        let parts = recorder::by_connection(self.arrivals()).into_iter().map(|bytes| without_request_ids(&bytes));
        let whole = parts.map(|bytes| bytes.strip_prefix(FENCE).unwrap_or(&bytes).to_vec());
        whole.filter(|bytes| recorder::request(bytes) != recorder::Found::Part).collect::<Vec<_>>().concat()
    }

    /// Send a case, whole or in pieces, and say what is wrong.
    fn try_case(&self, case: &Case, pieces: bool) -> Result<(), String> {
        let mut stream = self.connect();
        let message = [&case.sent, MARKER].concat();
        let step = if pieces { 7 } else { message.len() };
        for piece in message.chunks(step) {
            // A connection that is closed by now may not take the rest.
            if stream.write_all(piece).is_err() {
                break;
            }
        }
        let expected = case.arrives.as_ref().unwrap_or(&case.sent);
        if case.says("forwarded") {
            let requests = recorder::count(expected).ok_or("the corpus expects what no backend may get")?;
            let ends = case.says("closed");
            let answers = until_answers(&mut stream, if ends { usize::MAX } else { requests + 1 });
            let (arrived, statuses) = (self.arrived(), statuses(&answers));
            let expected = if ends { expected.clone() } else { [expected, MARKER].concat() };
            let all = requests + usize::from(!ends);
            let same = recorder::in_one_chunk(&arrived) == recorder::in_one_chunk(&expected);
            return match same && statuses == vec!["200"; all] {
                true => Ok(()),
                false => Err(format!("got {statuses:?}, and there arrived\n    {}", shown(&arrived))),
            };
        }
        let answers = until_answers(&mut stream, 2);
        // The answer may have begun before the body turned out to be none.
        let cuts = case.says("cut");
        let (arrived, statuses) = (if cuts { self.arrived_whole() } else { self.arrived() }, statuses(&answers));
        let status = case.verdict.get(1).map_or("400", String::as_str);
        let text = String::from_utf8_lossy(&answers).to_lowercase();
        let closed = text.contains("\r\nx-evenkeel-reason: ") && text.contains("\r\nconnection: close\r\n");
        let refused = statuses == [status] && closed || (pieces || cuts) && statuses.is_empty();
        if refused && arrived.is_empty() {
            return Ok(());
        }
        Err(format!("got {statuses:?}, and there arrived\n    {}", shown(&arrived)))
    }

    fn try_all(&self, file: &str) {
        let mut cases = case::read(&format!("http1/{file}.txt"));
        // These last: what is left of them may still arrive while others are tried.
        cases.sort_by_key(|case| case.says("cut"));
        let mut wrong = Vec::new();
        for case in &cases {
            assert!(matches!(&*case.verdict[0], "refused" | "forwarded" | "cut"), "{}: {:?}", case.name, case.verdict);
            for pieces in [false, true] {
                if let Err(what) = self.try_case(case, pieces) {
                    let how = if pieces { "in pieces" } else { "whole" };
                    wrong.push(format!("{} ({how}), {}: {what}", case.name, case.verdict.join(" ")));
                }
            }
        }
        assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), 2 * cases.len(), wrong.join("\n"));
    }
}

/// Read until there are so many answers, or the end of the connection.
fn until_answers(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let (mut answers, mut bytes) = (Vec::new(), [0; 4096]);
    while statuses(&answers).len() < count || !answers.ends_with(b"ok") {
        match stream.read(&mut bytes) {
            Ok(0) => break,
            Ok(read) => answers.extend_from_slice(&bytes[..read]),
            Err(e) if e.kind() == ErrorKind::ConnectionReset => break,
            Err(e) => {
                answers.extend_from_slice(format!("\r\nHTTP/1.1 {:?} ", e.kind()).as_bytes());
                break;
            }
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
    answers
}

/// The statuses of some answers.
fn statuses(answers: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(answers).into_owned();
    let after = text.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.split(' ').next().map(str::to_owned));
    after.collect()
}

fn without_request_ids(bytes: &[u8]) -> Vec<u8> {
    const NAME: &[u8] = b"x-request-id: ";
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(NAME.len()).position(|window| window.eq_ignore_ascii_case(NAME)) {
        out.extend_from_slice(&rest[..at]);
        let line = rest[at..].iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| at + end + 1);
        rest = &rest[line..];
    }
    out.extend_from_slice(rest);
    out
}

macro_rules! corpus {
    ($($name:ident),*) => {
        $(#[test]
        fn $name() {
            Stage::set("").try_all(stringify!($name));
        })*

        #[test]
        fn the_corpus_is_as_large_as_it_says() {
            let files = [$(stringify!($name)),*];
            let cases: usize = files.iter().map(|file| case::read(&format!("http1/{file}.txt")).len()).sum();
            assert!(cases >= 300, "{cases} cases");
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/http1");
            assert_eq!(std::fs::read_dir(folder).unwrap().count(), files.len(), "every file is run");
        }
    };
}

corpus!(body, chunks, coding, connection, fields, host, length, line, path, target);
