//! A backend that records every byte that it gets, and answers whatever is one request by the strictest reading.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// What came, in the order of its coming, each with the number of its connection.
type Record = Arc<Mutex<Vec<(usize, Vec<u8>)>>>;

pub struct Recorder {
    pub address: SocketAddr,
    record: Record,
}

impl Recorder {
    pub fn start() -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, record) = (listener.local_addr().unwrap(), Record::default());
        let shared = Arc::clone(&record);
        thread::spawn(move || {
            for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let record = Arc::clone(&shared);
                thread::spawn(move || serve(stream, number, &record));
            }
        });
        Recorder { address, record }
    }

    /// What has come since the last time.
    pub fn take(&self) -> Vec<(usize, Vec<u8>)> {
        std::mem::take(&mut self.record.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The same, each connection by itself.
pub fn by_connection(record: Vec<(usize, Vec<u8>)>) -> Vec<Vec<u8>> {
    let mut all: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    for (connection, mut bytes) in record {
        all.entry(connection).or_default().append(&mut bytes);
    }
    all.into_values().collect()
}

fn serve(mut stream: TcpStream, number: usize, record: &Record) {
    let _ = stream.set_nodelay(true);
    let (mut buffer, mut bytes) = (Vec::new(), [0; 65536]);
    while let Ok(read @ 1..) = stream.read(&mut bytes) {
        record.lock().unwrap_or_else(PoisonError::into_inner).push((number, bytes[..read].to_vec()));
        buffer.extend_from_slice(&bytes[..read]);
        loop {
            match request(&buffer) {
                Found::Whole(length) => {
                    let body = if buffer.starts_with(b"HEAD ") { "" } else { "ok" };
                    buffer.drain(..length);
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{body}");
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
                Found::Part => break,
                // Nothing illegal is to arrive: it is in the record, and gets no answer.
                Found::Illegal => return,
            }
        }
    }
}

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq)]
pub enum Found {
    /// A request of so many bytes.
    Whole(usize),
    /// What may become one.
    Part,
    /// What no strict reader takes for one.
    Illegal,
}

/// How many whole requests these bytes are; `None` if there is anything else.
pub fn count(mut bytes: &[u8]) -> Option<usize> {
    let mut count = 0;
    while !bytes.is_empty() {
        let Found::Whole(length) = request(bytes) else { return None };
        bytes = &bytes[length..];
        count += 1;
    }
    Some(count)
}

/// The request at the beginning.
pub fn request(bytes: &[u8]) -> Found {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Found::Part };
    let mut lines = bytes[..end].split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next().unwrap_or_default();
    let printable = |line: &[u8]| line.iter().all(|byte| (b' '..0x7f).contains(byte) || *byte >= 0x80);
    if first.split(|byte| *byte == b' ').count() != 3 || !first.ends_with(b" HTTP/1.1") || !printable(first) {
        return Found::Illegal;
    }
    let (mut length, mut chunked) = (None, false);
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return Found::Illegal };
        let (name, value) = (line[..colon].to_ascii_lowercase(), line[colon + 1..].trim_ascii());
        let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        let fine = value.iter().all(|byte| *byte == b'\t' || *byte >= b' ' && *byte != 0x7f);
        if name.is_empty() || !name.iter().all(token) || !fine {
            return Found::Illegal;
        }
        match &name[..] {
            b"content-length" if length.is_none() && value.iter().all(u8::is_ascii_digit) => {
                length = std::str::from_utf8(value).ok().and_then(|value| value.parse::<usize>().ok());
            }
            b"transfer-encoding" if !chunked && value.eq_ignore_ascii_case(b"chunked") => chunked = true,
            b"content-length" | b"transfer-encoding" => return Found::Illegal,
            _ => {}
        }
    }
    match (length, chunked) {
        (Some(_), true) => Found::Illegal,
        (None, true) => chunks(bytes, end + 4),
        (length, false) => {
            let whole = end + 4 + length.unwrap_or(0);
            if bytes.len() < whole { Found::Part } else { Found::Whole(whole) }
        }
    }
}

/// Chunks that begin at `at`, without extensions or trailers: whoever forwards strictly sends none.
fn chunks(bytes: &[u8], mut at: usize) -> Found {
    loop {
        let Some(line) = find(&bytes[at..], b"\r\n") else { return Found::Part };
        let digits = &bytes[at..at + line];
        let size = std::str::from_utf8(digits).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let Some(size) = size.filter(|_| digits.iter().all(u8::is_ascii_hexdigit)) else { return Found::Illegal };
        let end = at + line + 2 + size;
        match bytes.get(end..end + 2) {
            None => return Found::Part,
            Some(b"\r\n") if size == 0 => return Found::Whole(end + 2),
            Some(b"\r\n") => at = end + 2,
            Some(_) => return Found::Illegal,
        }
    }
}

/// The same requests, with each body in one chunk: where it is cut is up to whoever forwards it.
pub fn in_one_chunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Found::Whole(length) = request(bytes) {
        let (whole, rest) = bytes.split_at(length);
        let head = find(whole, b"\r\n\r\n").unwrap() + 4;
        let chunked =
            whole[..head].to_ascii_lowercase().windows(10).any(|window| window == b"\nTransfer-".to_ascii_lowercase());
        out.extend_from_slice(&whole[..head]);
        if chunked {
            let data = data(&whole[head..]);
            out.extend_from_slice(format!("{:X}\r\n", data.len()).as_bytes());
            out.extend_from_slice(&data);
        } else {
            out.extend_from_slice(&whole[head..]);
        }
        bytes = rest;
    }
    out.extend_from_slice(bytes);
    out
}

/// What is in some chunks.
fn data(mut chunks: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    while let Some(line) = find(chunks, b"\r\n") {
        let digits = std::str::from_utf8(&chunks[..line]).unwrap();
        let size = usize::from_str_radix(digits, 16).unwrap();
        data.extend_from_slice(&chunks[line + 2..][..size]);
        chunks = &chunks[line + 2 + size + 2..];
    }
    data
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Bytes as a person can read them.
pub fn shown(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(2000)];
    bytes.escape_ascii().to_string().replace("\\r\\n", "\\r\\n\n    ")
}
