//! What is wrong in a configuration, and where.

use std::fmt;
use std::path::{Path, PathBuf};

use super::Config;

/// A place in the file, both numbers counted from 1; 0:0 where there is no file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// Where a value stands in the file. All places are equal: what a value says does not depend on its line, and a reload that
/// only moves it changes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place(pub Position);

impl PartialEq for Place {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Place {}

impl From<Position> for Place {
    fn from(at: Position) -> Self {
        Place(at)
    }
}

impl From<Place> for Position {
    fn from(place: Place) -> Self {
        place.0
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where it stands.
    pub at: Position,
    /// The key path, like `pools.api.backends[2].weight`; empty for the file as a whole.
    pub key: String,
    /// What was found, what is allowed, and the nearest key for a typo. Never a secret, never the whole file.
    pub message: String,
}

impl Mistake {
    /// A mistake at a key.
    pub fn new(at: impl Into<Position>, key: impl Into<String>, message: impl Into<String>) -> Self {
        Mistake { at: at.into(), key: key.into(), message: message.into() }
    }
}

/// Every mistake of one file, in the order of the file. Printed one a line: `FILE:LINE:COLUMN: KEY: MESSAGE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, as given; `None` if the configuration was built without one.
    pub file: Option<PathBuf>,
    /// At least one.
    pub mistakes: Vec<Mistake>,
    /// What could be read all the same.
    readable: Readable,
}

/// A configuration as far as it could be read, with any value in place of a wrong one: good for nothing but finding more mistakes.
#[derive(Clone, Debug, Default)]
struct Readable(Option<Box<Config>>);

/// What was found wrong says it all.
impl PartialEq for Readable {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Readable {}

impl ConfigError {
    /// All of `mistakes` as one error, in the order of the file.
    pub fn new(file: Option<&Path>, mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by_key(|mistake| mistake.at);
        ConfigError { file: file.map(Path::to_path_buf), mistakes, readable: Readable::default() }
    }

    /// With what could be read.
    pub(super) fn having_read(mut self, config: Option<Config>) -> Self {
        self.readable = Readable(config.map(Box::new));
        self
    }

    /// With the mistakes that `find` finds in what could be read: those of extensions, of which the reader knows nothing.
    pub(crate) fn and(mut self, find: impl FnOnce(&Config) -> Vec<Mistake>) -> Self {
        if let Some(config) = self.readable.0.take() {
            self.mistakes.extend(find(&config));
            self.mistakes.sort_by_key(|mistake| mistake.at);
        }
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, mistake) in self.mistakes.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            match &self.file {
                Some(file) if mistake.at.line > 0 => {
                    write!(f, "{}:{}:{}: ", file.display(), mistake.at.line, mistake.at.column)?;
                }
                Some(file) => write!(f, "{}: ", file.display())?,
                None => {}
            }
            if !mistake.key.is_empty() {
                write!(f, "{}: ", mistake.key)?;
            }
            f.write_str(&mistake.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
