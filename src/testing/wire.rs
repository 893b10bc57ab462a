//! HTTP/1 as it is read by both ends of a test. It is as strict as a test needs it: what comes has been made by the balancer.

use std::io::{self, BufRead, Read};

/// More than that is no header.
const MAX_LINE: u64 = 1024 * 1024;

/// Header fields in the order in which they came. Names are told apart without regard to case.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(pub(super) Vec<(String, String)>);

impl Fields {
    pub(super) fn add(&mut self, name: &str, value: &str) {
        self.0.push((name.to_owned(), value.to_owned()));
    }

    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// As they are written.
    pub(super) fn lines(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
    }
}

/// The first line of a message, and its fields.
#[derive(Clone, Debug)]
pub(super) struct Head {
    line: String,
    pub(super) fields: Fields,
}

impl Head {
    /// Read one; `None` where the other side has closed before the first byte.
    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Option<Head>> {
        let Some(first) = line(from)? else { return Ok(None) };
        let mut fields = Fields::default();
        loop {
            let line = line(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if line.is_empty() {
                return Ok(Some(Head { line: first, fields }));
            }
            let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
            fields.add(name, value.trim());
        }
    }

    /// A word of the first line; the third is all that is left of it.
    pub(super) fn word(&self, number: usize) -> &str {
        self.line.splitn(3, ' ').nth(number).unwrap_or_default()
    }

    /// Read the body behind it into `to`: what has come is there even if the rest does not come. What does not say how long it is
    /// has no body, or ends with its connection.
    pub(super) fn read_body(&self, from: &mut impl BufRead, to: &mut Vec<u8>, until_closed: bool) -> io::Result<()> {
        if self.fields.all("transfer-encoding").any(|coding| coding.eq_ignore_ascii_case("chunked")) {
            return read_chunks(from, to);
        }
        match self.fields.get("content-length") {
            Some(length) => exactly(from, length.parse().map_err(|_| io::ErrorKind::InvalidData)?, to),
            None if until_closed => from.read_to_end(to).map(drop),
            None => Ok(()),
        }
    }
}

/// A line without its end; `None` at the end of all.
fn line(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if from.take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}

fn exactly(from: &mut impl BufRead, length: u64, to: &mut Vec<u8>) -> io::Result<()> {
    let read = from.take(length).read_to_end(to)?;
    if read as u64 == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn read_chunks(from: &mut impl BufRead, to: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let size = line(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        exactly(from, size, to)?;
        if size == 0 {
            break;
        }
        line(from)?;
    }
    // Trailers.
    while !line(from)?.ok_or(io::ErrorKind::UnexpectedEof)?.is_empty() {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, until_closed: bool) -> (Head, Vec<u8>, bool) {
        let mut from = text.as_bytes();
        let head = Head::read(&mut from).unwrap().unwrap();
        let mut body = Vec::new();
        let whole = head.read_body(&mut from, &mut body, until_closed).is_ok();
        (head, body, whole)
    }

    #[test]
    fn a_message_is_its_words_its_fields_and_its_body() {
        let (head, body, whole) = read("HTTP/1.1 404 Not Found\r\nA: 1\r\na:2\r\nContent-Length: 2\r\n\r\nhi!", true);
        assert_eq!((head.word(1), head.word(2)), ("404", "Not Found"));
        assert_eq!(head.fields.all("A").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!((&*body, whole), (&b"hi"[..], true));
    }

    #[test]
    fn a_body_ends_where_it_says() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n";
        assert_eq!(read(&format!("{chunked}0\r\nT: 1\r\n\r\n"), true).1, b"abcde");
        assert!(!read(chunked, true).2);
        assert_eq!(read("HTTP/1.1 200 OK\r\n\r\nall", true).1, b"all");
        assert_eq!(read("GET / HTTP/1.1\r\n\r\nnext", false).1, b"");
        let (_, came, whole) = read("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", true);
        assert_eq!((&*came, whole), (&b"abc"[..], false));
    }
}
