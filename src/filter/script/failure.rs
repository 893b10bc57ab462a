//! What went wrong in a call: said in the log, now and then, and counted.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use log::warn;
use mlua::Error;

use crate::metrics::script_failed;

/// A script that fails with each request says so this often.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// The characters of a message that are said.
const LONGEST: usize = 500;

/// Why a call has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It took longer than `time`.
    Time,
    /// It needed more than `memory`.
    Memory,
    /// It made a mistake.
    Error,
}

impl Cause {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Cause::Time => "time",
            Cause::Memory => "memory",
            Cause::Error => "error",
        }
    }
}

/// A call that has failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) cause: Cause,
    /// With the file and the line, as far as they are known.
    pub(super) message: String,
}

impl Failure {
    /// What an error of the VM is; `chunk` is what the script is called.
    pub(super) fn of(error: &Error, chunk: &str) -> Self {
        let (mut inner, mut traceback) = (error, "");
        while let Error::CallbackError { cause, traceback: at } = inner {
            (inner, traceback) = (cause, at);
        }
        if let Error::BadArgument { cause, .. } = inner
            && matches!(**cause, Error::RuntimeError(_))
        {
            inner = cause;
        }
        let cause = if matches!(inner, Error::MemoryError(_)) { Cause::Memory } else { Cause::Error };
        let text = match inner {
            Error::RuntimeError(text) | Error::MemoryError(text) => text.clone(),
            Error::SyntaxError { message, .. } => message.clone(),
            other => other.to_string(),
        };
        // The rest is a traceback; an error of a function of ours, or of the library's, says only there where it was called.
        let (text, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let place = traceback.lines().chain(rest.lines()).map(str::trim).find_map(|line| place(line, chunk));
        let message = match place {
            Some(place) if !text.contains(&format!("{chunk}:")) => format!("{place}: {text}"),
            _ if text.contains(chunk) => text.to_owned(),
            _ => format!("{chunk}: {text}"),
        };
        Failure { cause, message: shown(message) }
    }
}

/// As one line of a log, whatever the script has made of it.
fn shown(message: String) -> String {
    if message.len() <= LONGEST && !message.contains(char::is_control) {
        return message;
    }
    let mut line = String::new();
    for c in message.chars().take(LONGEST) {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

/// `hooks.lua:3` of a line of a traceback, if it is one of the script.
fn place<'a>(line: &'a str, chunk: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(chunk)?.strip_prefix(':')?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    (digits > 0).then(|| &line[..chunk.len() + 1 + digits])
}

/// Says what goes wrong.
#[derive(Default)]
pub(super) struct Complaints {
    last: Mutex<Option<(Instant, u64)>>,
}

impl Complaints {
    pub(super) fn add(&self, chunk: &str, failure: &Failure) {
        script_failed(chunk, failure.cause.as_str());
        let unsaid = {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            match *last {
                Some((at, unsaid)) if at.elapsed() < SAY_EVERY => {
                    *last = Some((at, unsaid + 1));
                    return;
                }
                before => {
                    *last = Some((Instant::now(), 0));
                    before.map_or(0, |(_, unsaid)| unsaid)
                }
            }
        };
        let more =
            if unsaid > 0 { format!(" ({unsaid} more of them since the last that was said)") } else { String::new() };
        warn!("script {}{more}", failure.message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_of_a_bounded_length() {
        let said = |text: &str| Failure::of(&Error::runtime(text), "hooks.lua").message;
        assert_eq!(said("hooks.lua:3: é\u{1b}[31m\rINFO all is well"), "hooks.lua:3: é\\u{1b}[31m\\rINFO all is well");
        assert_eq!(said(&"x".repeat(100_000)).chars().count(), LONGEST);
    }
}
