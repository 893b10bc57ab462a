//! A regular expression of the file: compared by what was written, used by what it compiled to.

use std::hash::{Hash, Hasher};
use std::ops::Deref;

use super::reader::Value;

/// A compiled regular expression that is equal to another if both were written alike, so that a reload can tell.
#[derive(Clone, Debug)]
pub struct Regex(regex::bytes::Regex);

impl Regex {
    /// Compile `pattern`.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub fn new(pattern: &str) -> Result<Self, regex::Error> {
        regex::bytes::Regex::new(pattern).map(Regex)
    }
}

impl Deref for Regex {
    type Target = regex::bytes::Regex;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Regex {}

impl Hash for Regex {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_str().hash(state);
    }
}

impl Value<'_> {
    /// A regular expression.
    pub(super) fn regex(&self) -> Option<Regex> {
        let text = self.text("a regular expression")?;
        match Regex::new(text) {
            Ok(regex) => Some(regex),
            Err(e) => {
                // The parser draws the place of the error over several lines; the last one says what it is.
                let e = e.to_string();
                let reason = e.lines().last().unwrap_or_default().trim_start_matches("error: ");
                self.wrong(format!("is not a regular expression: {reason}, in {}", self.shown()));
                None
            }
        }
    }
}
