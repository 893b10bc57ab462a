//! What backends answer, held to the rules: what is no HTTP is a 502 or is cut, its connection is not used again, and nothing hangs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::case::{self, Case};
use super::frames::{Frames, Outcome};
use super::recorder::shown;
use crate::support::evenkeel::pool;
use crate::support::{Evenkeel, LIMIT};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext";
/// More than what bounds a request in these tests, and far less than for ever.
const SOON: Duration = Duration::from_secs(4);

const NOT_KEPT: &str = "its connection is not used again";
const TRIES: usize = 5;

/// What the backend says next, and on which connections it was asked.
#[derive(Default)]
struct Script {
    said: Mutex<Option<Case>>,
    asked: Mutex<Vec<usize>>,
}

struct Stage {
    evenkeel: Evenkeel,
    script: Arc<Script>,
}

impl Stage {
    fn set() -> Stage {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, script) = (listener.local_addr().unwrap(), Arc::<Script>::default());
        let shared = Arc::clone(&script);
        thread::spawn(move || {
            for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let script = Arc::clone(&shared);
                thread::spawn(move || serve(stream, number, &script));
            }
        });
        let more = "health_check: off\nejection: off\nretry: off\ntimeouts: { read: 1s, request: 2s }";
        let listeners = "listeners: [{ address: '127.0.0.1:0', h2c: true }]\n";
        Stage { evenkeel: Evenkeel::start(&format!("{listeners}{}", pool(&[address], more))), script }
    }

    fn http(&self) -> SocketAddr {
        self.evenkeel.http()
    }

    /// The whole answer to a request over HTTP/1 for whose end the connection is closed.
    fn ask(&self, method: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.http()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(format!("{method} / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        without_date(&answer)
    }

    /// The numbers of the connections on which the backend was asked since the last time.
    fn asked(&self) -> Vec<usize> {
        std::mem::take(&mut self.script.asked.lock().unwrap())
    }

    fn try_over_http1(&self, case: &Case) -> Result<(), String> {
        let method = if case.says("HEAD") { "HEAD" } else { "GET" };
        *self.script.said.lock().unwrap() = Some(case.clone());
        let began = Instant::now();
        let answer = self.ask(method);
        let took = began.elapsed();
        let wrong = |what: &str| Err(format!("{what}: {}", shown(&answer)));
        if took > SOON {
            return wrong(&format!("not before {took:?}"));
        }
        if !final_status(&answer).is_some_and(|status| case.verdict[0].split('|').any(|allowed| allowed == status)) {
            return wrong("another status");
        }
        let reason = case.verdict.iter().find(|word| word.contains('_'));
        let ours = |reason: &String| {
            String::from_utf8_lossy(&answer).to_lowercase().contains(&format!("x-evenkeel-reason: {reason}\r\n"))
        };
        if !reason.is_none_or(ours) {
            return wrong("another reason");
        }
        if whole(&answer, method) == case.says("cut") {
            return wrong(if case.says("cut") { "not cut" } else { "not whole" });
        }
        if case.arrives.as_ref().is_some_and(|expected| *expected != answer) {
            return wrong("something else");
        }
        // Where it was asked, and where next.
        let asked = self.asked();
        // Where several are kept, they take turns.
        for _ in 0..TRIES {
            let next = self.ask("GET");
            if !next.ends_with(b"next") {
                return Err(format!("the next request got {}", shown(&next)));
            }
            match (self.asked().contains(&asked[0]), case.says("kept")) {
                (true, _) if case.says("dropped") => return Err("its connection is used again".to_owned()),
                (true, _) | (false, false) => return Ok(()),
                (false, true) => {}
            }
        }
        Err(NOT_KEPT.to_owned())
    }

    /// A connection that may be used again may yet be put by just too late for the next: not every time.
    fn try_kept(&self, case: &Case) -> Result<(), String> {
        (1..TRIES).fold(self.try_over_http1(case), |tried, _| match tried {
            Err(what) if what == NOT_KEPT => self.try_over_http1(case),
            tried => tried,
        })
    }

    fn try_over_http2(&self, case: &Case) -> Result<(), String> {
        if case.says("HEAD") || case.says("http1") {
            return Ok(());
        }
        *self.script.said.lock().unwrap() = Some(case.clone());
        let mut client = Frames::connect(self.http());
        let usual = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "test")];
        let fields = usual.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        client.request(1, &fields, None).unwrap();
        let outcome = client.outcome(1);
        // The next on the same connection is not its victim.
        client.request(3, &fields, None).unwrap();
        let next = client.outcome(3);
        self.asked();
        // The table of HPACK has none for the others.
        let status = case.verdict[0].parse().unwrap();
        let known = if [200, 204, 304].contains(&status) { status } else { 0 };
        let expected = if case.says("cut") { Outcome::Reset } else { Outcome::Status(known) };
        // A header that goes on is cut with its stream, not answered.
        let cut = case.says("endless") && outcome == Outcome::Reset;
        match (outcome == expected || cut) && next == Outcome::Status(200) {
            true => Ok(()),
            false => Err(format!("{outcome:?}, then {next:?}")),
        }
    }
}

/// Answer the first request by the script and all others in a friendly way.
fn serve(mut stream: TcpStream, number: usize, script: &Script) {
    let _ = stream.set_nodelay(true);
    let (mut buffer, mut bytes) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = stream.read(&mut bytes) {
        buffer.extend_from_slice(&bytes[..read]);
        if !buffer.ends_with(b"\r\n\r\n") {
            continue;
        }
        buffer.clear();
        script.asked.lock().unwrap().push(number);
        let said = script.said.lock().unwrap().take();
        let Some(case) = said else {
            if stream.write_all(OK).is_err() {
                return;
            }
            continue;
        };
        if stream.write_all(&case.sent).is_err() {
            return;
        }
        while case.says("endless") {
            let more = case.data.as_deref().unwrap_or(&case.sent);
            // A client of ours hangs up in the end; what it was about to read is not what this is about.
            if stream.write_all(more).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        if case.says("closes") {
            return;
        }
    }
}

/// The status of the answer behind all interim ones.
fn final_status(answer: &[u8]) -> Option<&str> {
    let head = behind_interim(answer)?;
    std::str::from_utf8(head.get(9..12)?).ok()
}

fn behind_interim(mut answer: &[u8]) -> Option<&[u8]> {
    while answer.starts_with(b"HTTP/1.1 1") && !answer.starts_with(b"HTTP/1.1 101") {
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
        answer = &answer[end + 4..];
    }
    answer.starts_with(b"HTTP/1.1 ").then_some(answer)
}

/// Whether it is one whole answer by the strictest reading, and nothing else.
fn whole(answer: &[u8], method: &str) -> bool {
    let Some(answer) = behind_interim(answer) else { return false };
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let (head, body) = answer.split_at(end + 4);
    let head = String::from_utf8_lossy(head).to_lowercase();
    let none = method == "HEAD" || [" 204 ", " 304 "].iter().any(|status| head.contains(status));
    let length = head.split("\r\ncontent-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    if none {
        return body.is_empty();
    }
    match length {
        Some(length) => length.parse() == Ok(body.len()),
        None => head.contains("\r\ntransfer-encoding: chunked\r\n") && ends_once(body),
    }
}

/// Whether the last chunk is at the end, and nowhere before.
fn ends_once(chunks: &[u8]) -> bool {
    let mut rest = chunks;
    while let Some(line) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&rest[..line]).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let Some(size) = size else { return false };
        let end = line + 2 + size + 2;
        if size == 0 {
            return rest.len() == end;
        }
        let Some(more) = rest.get(end..) else { return false };
        rest = more;
    }
    false
}

fn without_date(answer: &[u8]) -> Vec<u8> {
    let Some(at) = answer.windows(8).position(|window| window.eq_ignore_ascii_case(b"\r\nDate: ")) else {
        return answer.to_vec();
    };
    let line = answer[at + 2..].iter().position(|byte| *byte == b'\n').map_or(answer.len(), |end| at + 2 + end + 1);
    [&answer[..at + 2], &answer[line..]].concat()
}

#[test]
fn what_backends_answer() {
    let cases = case::read("responses/responses.txt");
    assert!(cases.len() >= 100, "{} cases", cases.len());
    let stage = Stage::set();
    let mut wrong = Vec::new();
    for case in &cases {
        for (over, tried) in [("HTTP/1", stage.try_kept(case)), ("HTTP/2", stage.try_over_http2(case))] {
            if let Err(what) = tried {
                wrong.push(format!("{} (over {over}), {}: {what}", case.name, case.verdict.join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), 2 * cases.len(), wrong.join("\n"));
}
