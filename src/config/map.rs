//! Reading a map: the keys that a reader asks for are the allowed ones, and what nobody asked for is a mistake.
//!
//! So there is no list of keys beside the code that reads them, and none that could fall behind it.

use super::Position;
use super::node::{Entry, join};
use super::reader::{Sink, Value};
use super::text::{any_of, nearest};

/// How many unknown keys of one map are reported one by one.
const MAX_UNKNOWN: usize = 100;

/// A map that remembers which keys were asked for: those are the allowed ones.
pub(super) struct Map<'a> {
    pub(super) at: Position,
    pub(super) key: String,
    sink: &'a Sink,
    entries: &'a [Entry],
    asked: Vec<&'static str>,
    refused: Vec<&'static str>,
}

impl<'a> Map<'a> {
    /// The map that `value` is, of which `entries` are what it holds.
    pub(super) fn new(value: &Value<'a>, entries: &'a [Entry]) -> Self {
        Map { at: value.at, key: value.key.clone(), sink: value.sink, entries, asked: Vec::new(), refused: Vec::new() }
    }

    /// The value of `name`, if it is there.
    pub(super) fn get(&mut self, name: &'static str) -> Option<Value<'a>> {
        self.asked.push(name);
        #[cfg(test)]
        self.sink.asked.borrow_mut().insert(join(&self.key, name));
        let entry = self.entries.iter().find(|entry| entry.key == name)?;
        Some(Value::of_entry(&self.key, entry, self.sink))
    }

    /// The value of a key that the caller knows and refuses: it is not suggested to anyone.
    pub(super) fn refuse(&mut self, name: &'static str) -> Option<Value<'a>> {
        self.refused.push(name);
        let entry = self.entries.iter().find(|entry| entry.key == name)?;
        Some(Value::of_entry(&self.key, entry, self.sink))
    }

    /// The value of `name` as `read` makes of it, or `default`.
    pub(super) fn read<T>(&mut self, name: &'static str, default: T, read: impl FnOnce(&Value<'a>) -> Option<T>) -> T {
        self.get(name).and_then(|value| read(&value)).unwrap_or(default)
    }

    /// The value of `name`, or a mistake that it is missing; `example` says what to write.
    pub(super) fn need(&mut self, name: &'static str, example: &str) -> Option<Value<'a>> {
        let value = self.get(name);
        if value.is_none() {
            self.wrong(format!("needs '{name}', like {example}"));
        }
        value
    }

    /// Record a mistake about the map as a whole.
    pub(super) fn wrong(&self, message: impl Into<String>) {
        self.sink.push(self.at, self.key.clone(), message);
    }

    /// The keys that nobody asked for.
    pub(super) fn rest(&self) -> impl Iterator<Item = (&'a Entry, Value<'a>)> {
        self.left().map(|entry| (entry, Value::of_entry(&self.key, entry, self.sink)))
    }

    fn left(&self) -> impl Iterator<Item = &'a Entry> {
        let known = |key: &str| self.asked.iter().chain(&self.refused).any(|name| *name == key);
        self.entries.iter().filter(move |entry| !known(&entry.key))
    }

    /// The known key that `typo` was probably meant to be.
    pub(super) fn nearest(&self, typo: &str) -> Option<&'static str> {
        nearest(typo, self.asked.iter().copied())
    }

    /// Report every key that nobody asked for. Comes last, when all that may be asked for has been.
    /// `false` if there was one.
    pub(super) fn done(self) -> bool {
        let allowed = self.allowed();
        self.done_with(&format!("; allowed here: {allowed}"))
    }

    /// [`Map::done`], with what a message says if no known key is near.
    pub(super) fn done_with(self, otherwise: &str) -> bool {
        for (i, entry) in self.left().enumerate() {
            // Some quite other file was given; looking for the nearest key of each takes its time.
            if i == MAX_UNKNOWN {
                self.unknown(entry, format!("unknown key, and {} more", self.left().count() - i - 1));
                break;
            }
            let message = match self.nearest(&entry.key) {
                Some(known) => format!("unknown key, did you mean '{known}'?"),
                None => format!("unknown key{otherwise}"),
            };
            self.unknown(entry, message);
        }
        self.left().next().is_none()
    }

    /// Record a mistake about a key itself rather than its value.
    pub(super) fn unknown(&self, entry: &Entry, message: impl Into<String>) {
        self.sink.push(entry.at, join(&self.key, &entry.key), message);
    }

    /// The keys asked for so far, for a message.
    pub(super) fn allowed(&self) -> String {
        any_of(&self.asked)
    }
}
