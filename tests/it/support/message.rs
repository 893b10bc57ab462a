//! HTTP/1 messages as they are on the wire.

use std::io::{self, BufRead, Read, Write};

/// The head of a request or a response.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// As it came, its empty line included.
    pub raw: Vec<u8>,
    /// The first line.
    pub start: String,
    /// Names as they came.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// Read one; `None` at the end of the connection.
    pub fn read(from: &mut impl BufRead) -> io::Result<Option<Head>> {
        let mut head = Head::default();
        loop {
            let begin = head.raw.len();
            if from.read_until(b'\n', &mut head.raw)? == 0 {
                return match begin {
                    0 => Ok(None),
                    _ => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
            let line = String::from_utf8_lossy(&head.raw[begin..]).trim_end().to_owned();
            match line.split_once(':') {
                _ if line.is_empty() => return Ok(Some(head)),
                _ if head.start.is_empty() => head.start = line,
                Some((name, value)) => head.headers.push((name.to_owned(), value.trim().to_owned())),
                None => return Err(io::Error::new(io::ErrorKind::InvalidData, line)),
            }
        }
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// Every header of that name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// A word of the first line.
    pub fn word(&self, n: usize) -> &str {
        self.start.split(' ').nth(n).unwrap_or_default()
    }

    fn chunked(&self) -> bool {
        self.header("transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().ends_with("chunked"))
    }

    fn length(&self) -> Option<u64> {
        self.header("content-length").map(|value| value.parse().unwrap())
    }

    /// Copy a body to `to`. One without a length ends with the connection if `to_the_end`, and is empty if not.
    pub fn copy_body(&self, from: &mut impl BufRead, to: &mut impl Write, to_the_end: bool) -> io::Result<u64> {
        if self.chunked() {
            return copy_chunks(from, to);
        }
        match self.length() {
            Some(length) => {
                let copied = io::copy(&mut from.by_ref().take(length), to)?;
                if copied < length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(copied)
            }
            None if to_the_end => io::copy(from, to),
            None => Ok(0),
        }
    }
}

fn copy_chunks(from: &mut impl BufRead, to: &mut impl Write) -> io::Result<u64> {
    let mut total = 0;
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let size = line.trim_end().split(';').next().unwrap_or_default();
        let size =
            u64::from_str_radix(size, 16).map_err(|_| io::Error::new(io::ErrorKind::UnexpectedEof, "no chunk"))?;
        if size == 0 {
            // Trailers, up to the empty line.
            while line.trim_end() != "" {
                line.clear();
                if from.read_line(&mut line)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            return Ok(total);
        }
        let copied = io::copy(&mut from.by_ref().take(size), to)?;
        let mut end = [0; 2];
        from.read_exact(&mut end)?;
        if copied < size || end != *b"\r\n" {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        total += size;
    }
}

/// A response with its body, un-chunked.
#[derive(Clone, Debug, Default)]
pub struct Response {
    pub status: u16,
    pub head: Head,
    pub body: Vec<u8>,
    /// The 1xx responses before it.
    pub interim: Vec<Head>,
}

impl Response {
    /// Read the response to a request of `method`.
    pub fn read(from: &mut impl BufRead, method: &str) -> io::Result<Response> {
        let mut response = Response::read_head(from)?;
        let bodyless = method == "HEAD" || matches!(response.status, 101 | 204 | 304);
        if !bodyless {
            response.head.copy_body(from, &mut response.body, true)?;
        }
        Ok(response)
    }

    /// Read all but the body.
    pub fn read_head(from: &mut impl BufRead) -> io::Result<Response> {
        let mut response = Response::default();
        loop {
            let head = Head::read(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let status = head.word(1).parse();
            let status = status.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, head.start.clone()))?;
            if (100..200).contains(&status) && status != 101 {
                response.interim.push(head);
                continue;
            }
            response.status = status;
            response.head = head;
            return Ok(response);
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The reason that Evenkeel gives for a failure.
    pub fn reason(&self) -> &str {
        self.header("x-evenkeel-reason").unwrap_or_default()
    }
}
