//! The line of a request that was refused before it was one: no hook has seen it.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use chrono::Local;

use super::{AccessLog, Line, escape, millis, now};
use crate::config::LogFormat;
use crate::reason::Reason;

/// More of what came is not logged.
const LONGEST: usize = 1024;

/// What came of a request, and why it is none.
pub(crate) struct Refused<'a> {
    pub(crate) client: Option<IpAddr>,
    /// As it came, or as much of it as did.
    pub(crate) came: &'a [u8],
    pub(crate) reason: Reason,
    pub(crate) elapsed: Duration,
}

impl AccessLog {
    pub(crate) fn write_refused(&self, refused: &Refused<'_>) {
        let line = match self.format {
            LogFormat::Combined => refused.combined(),
            LogFormat::Json => refused.json(),
        };
        self.writer.write(line);
    }
}

impl Refused<'_> {
    /// What stands where the method, the target and the version should be.
    fn request(&self) -> &[u8] {
        let line = self.came.split(|byte| matches!(byte, b'\r' | b'\n')).find(|line| !line.is_empty());
        let line = line.unwrap_or_default();
        line.get(..LONGEST).unwrap_or(line)
    }

    fn combined(&self) -> String {
        let mut line = String::with_capacity(256);
        // Writing to a string does not fail.
        let _ = match self.client {
            Some(client) => write!(line, "{client}"),
            None => write!(line, "unix:"),
        };
        let _ = write!(line, " - - [{}] \"", Local::now().format("%d/%b/%Y:%H:%M:%S %z"));
        escape(&mut line, self.request());
        let _ = write!(line, "\" {} 0 \"-\" \"-\"", self.reason.status());
        line
    }

    fn json(&self) -> String {
        let request = String::from_utf8_lossy(self.request());
        let (method, rest) = request.split_once(' ').unwrap_or(("", &request));
        let line = Line {
            time: now(),
            client: self.client,
            method,
            path: rest.rsplit_once(' ').map_or(rest, |(path, _)| path).to_owned(),
            status: self.reason.status(),
            total_ms: millis(self.elapsed),
            reason: Some(self.reason.as_str()),
            ..Line::default()
        };
        // Of plain strings and numbers, which always serialize.
        serde_json::to_string(&line).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_what_came_and_no_more_than_fits() {
        let refused = |came| Refused {
            client: "192.0.2.1".parse().ok(),
            came,
            reason: Reason::BadRequest,
            elapsed: Duration::from_millis(3),
        };
        let combined = refused(b"\r\nGET /a\"b HTTP/1.1\r\nHost : secret\r\n").combined();
        assert!(combined.starts_with("192.0.2.1 - - ["), "{combined}");
        assert!(combined.ends_with("] \"GET /a\\x22b HTTP/1.1\" 400 0 \"-\" \"-\""), "{combined}");
        let json: serde_json::Value = serde_json::from_str(&refused(b"GET /a b HTTP/1.1\r\n").json()).unwrap();
        assert_eq!((&json["method"], &json["path"]), (&"GET".into(), &"/a b".into()));
        assert_eq!(
            (&json["status"], &json["reason"], &json["total_ms"]),
            (&400.into(), &"bad_request".into(), &3.0.into())
        );
        let json: serde_json::Value = serde_json::from_str(&refused(&[0xff; 5000]).json()).unwrap();
        assert_eq!(json["path"].as_str().unwrap().chars().count(), LONGEST);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&refused(b"").json()).unwrap()["path"], "");
    }
}
