//! What stands beside `script` in the configuration.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::source::Source;
use crate::config::{Mistake, Options, Period, Size};

/// Every request that comes to the same thread waits for so long at most; a hook that works needs a thousandth of it.
const TIME: Duration = Duration::from_millis(5);
const MOST_TIME: Duration = Duration::from_secs(1);

/// Eight times what an empty VM takes; it is taken for each thread, and only as far as the script needs it.
const MEMORY: u64 = 4 << 20;
const LEAST_MEMORY: u64 = 1 << 20;
const MOST_MEMORY: u64 = 1 << 30;

/// What becomes of a request whose hook fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnError {
    /// It is answered with 500.
    #[default]
    Refuse,
    /// It goes on, with what the hook had done so far.
    Continue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    file: PathBuf,
    time: Option<Period>,
    memory: Option<Size>,
    #[serde(default)]
    on_error: OnError,
}

/// Read the options, and the script that they name.
pub(super) fn read(options: &Options) -> Result<(Source, OnError), Mistake> {
    let Settings { file, time, memory, on_error } = options.parse()?;
    let time = time.map_or(TIME, |time| *time);
    if time > MOST_TIME {
        return Err(
            options.mistake_at("time", "must be 1ms to 1s: as long, whoever is served by the same thread waits")
        );
    }
    let memory = memory.map_or(MEMORY, |size| size.0);
    if !(LEAST_MEMORY..=MOST_MEMORY).contains(&memory) {
        return Err(options.mistake_at("memory", "must be 1MiB to 1GiB"));
    }
    let path = options.path(&file);
    let source = Source::read(&file, path, time, memory as usize);
    source.map(|source| (source, on_error)).map_err(|message| options.mistake_at("file", message))
}
