//! Typed reading of a [`Node`] tree. Readers record what is wrong and go on, so that every mistake is found in one go.
//!
//! Once a mistake is recorded no configuration comes out, and so a reader may return any value in place of a wrong one.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::map::Map;
use super::node::{Entry, Kind, Node, join};
use super::text::{any_of, looks_secret, shown};
use super::{Mistake, Position};

/// Where readers put what they find.
pub(super) struct Sink {
    mistakes: RefCell<Vec<Mistake>>,
    /// The folder that relative paths start from.
    folder: PathBuf,
    /// Every key path that a reader has asked for, for the test that `conf/full.yaml` leaves none out.
    #[cfg(test)]
    pub(super) asked: RefCell<std::collections::BTreeSet<String>>,
}

impl Sink {
    pub(super) fn new(file: Option<&Path>) -> Self {
        let folder = file.and_then(Path::parent).unwrap_or(Path::new("")).to_path_buf();
        Sink {
            mistakes: RefCell::default(),
            // Absolute, because a daemon changes its working directory. It fails only if there is none, and then nothing helps.
            folder: std::path::absolute(folder.join(".")).unwrap_or(folder),
            #[cfg(test)]
            asked: RefCell::default(),
        }
    }

    pub(super) fn push(&self, at: Position, key: impl Into<String>, message: impl Into<String>) {
        self.mistakes.borrow_mut().push(Mistake::new(at, key, message));
    }

    /// The folder that relative paths start from.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// How many mistakes there are so far.
    pub(super) fn count(&self) -> usize {
        self.mistakes.borrow().len()
    }

    pub(super) fn into_mistakes(self) -> Vec<Mistake> {
        self.mistakes.into_inner()
    }
}

/// One node on its way to becoming typed.
#[derive(Clone)]
pub(super) struct Value<'a> {
    pub(super) node: &'a Node,
    /// Where it is pointed at: a scalar itself; for a map or a list, its key.
    pub(super) at: Position,
    /// The key path.
    pub(super) key: String,
    pub(super) sink: &'a Sink,
}

impl<'a> Value<'a> {
    /// The top of the file.
    pub(super) fn top(node: &'a Node, sink: &'a Sink) -> Self {
        let (at, key) = (node.at, String::new());
        Value { node, at, key, sink }
    }

    /// Record a mistake here.
    pub(super) fn wrong(&self, message: impl Into<String>) {
        self.sink.push(self.at, self.key.clone(), message);
    }

    /// Record `must be …, got …`.
    pub(super) fn must_be(&self, what: impl std::fmt::Display) {
        self.wrong(format!("must be {what}, got {}", self.shown()));
    }

    /// The value as a message may show it.
    pub(super) fn shown(&self) -> String {
        match self.node.kind {
            Kind::Scalar { .. } if looks_secret(&self.key) => "a value that is not shown here".to_owned(),
            _ => shown(self.node),
        }
    }

    /// ` (line 12)`, or nothing where there is no file.
    pub(super) fn line(&self) -> String {
        line(self.at)
    }

    /// Is it `off`, or `false`?
    pub(super) fn is_off(&self) -> bool {
        match &self.node.kind {
            Kind::Scalar { text, plain } => text == "off" || (*plain && matches!(&**text, "false" | "False" | "FALSE")),
            _ => false,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.node.kind, Kind::Null)
    }

    /// Any scalar, as written.
    pub(super) fn scalar(&self) -> Option<&'a str> {
        match &self.node.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// A text that is not empty; `what` says which, for the message.
    pub(super) fn text(&self, what: &str) -> Option<&'a str> {
        let text = self.scalar().filter(|text| !text.is_empty());
        if text.is_none() {
            self.must_be(what);
        }
        text
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        match &self.node.kind {
            Kind::Scalar { text, plain: true } if matches!(&**text, "true" | "True" | "TRUE") => Some(true),
            Kind::Scalar { text, plain: true } if matches!(&**text, "false" | "False" | "FALSE") => Some(false),
            _ => {
                self.must_be("true or false");
                None
            }
        }
    }

    /// A whole number within `range`; `hint` follows what was found.
    pub(super) fn whole_or<N>(&self, range: RangeInclusive<N>, hint: &str) -> Option<N>
    where
        N: Copy + PartialOrd + std::fmt::Display + Into<u64> + TryFrom<u64>,
    {
        let (low, high): (u64, u64) = ((*range.start()).into(), (*range.end()).into());
        let allowed = match high {
            u64::MAX => format!("{low} or more"),
            _ => format!("{low} to {high}"),
        };
        let got = self.shown();
        let Kind::Scalar { text, plain } = &self.node.kind else {
            self.wrong(format!("must be a whole number, {allowed}, got {got}{hint}"));
            return None;
        };
        let number = text.parse::<u64>().ok().and_then(|n| N::try_from(n).ok()).filter(|n| range.contains(n));
        match number {
            Some(number) if *plain => return Some(number),
            Some(_) => {
                self.wrong(format!("must be a whole number, {allowed}, got the text {got} (take the quotes off)"))
            }
            None if *plain && text.parse::<f64>().is_ok() => self.wrong(format!("must be {allowed}, got {got}{hint}")),
            None => self.wrong(format!("must be a whole number, {allowed}, got {got}{hint}")),
        }
        None
    }

    /// A whole number within `range`.
    pub(super) fn whole<N>(&self, range: RangeInclusive<N>) -> Option<N>
    where
        N: Copy + PartialOrd + std::fmt::Display + Into<u64> + TryFrom<u64>,
    {
        self.whole_or(range, "")
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&self, words: &[(&'static str, T)]) -> Option<T> {
        let found = self.scalar().and_then(|text| words.iter().find(|(word, _)| *word == text));
        if found.is_none() {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.must_be(any_of(&known));
        }
        found.map(|(_, value)| *value)
    }

    /// The path of a file, made absolute.
    pub(super) fn path(&self) -> Option<PathBuf> {
        match self.scalar() {
            // A whole PEM file pasted in is a common mistake, and must not end in a message about a missing file.
            Some(text) if !text.is_empty() && !text.contains('\n') => Some(self.sink.folder.join(text)),
            _ => {
                self.must_be("the path of a file");
                None
            }
        }
    }

    /// The items of a list that has some.
    pub(super) fn list(&self, what: &str) -> Option<Vec<Value<'a>>> {
        match &self.node.kind {
            Kind::List(nodes) if !nodes.is_empty() => Some(self.items(nodes)),
            Kind::List(_) => {
                self.wrong(format!("must be a list of {what}, got an empty one"));
                None
            }
            _ => {
                self.must_be(format_args!("a list of {what}"));
                None
            }
        }
    }

    /// The items of a list that may be empty.
    pub(super) fn list_or_empty(&self, what: &str) -> Option<Vec<Value<'a>>> {
        match &self.node.kind {
            Kind::List(nodes) if nodes.is_empty() => Some(Vec::new()),
            _ => self.list(what),
        }
    }

    fn items(&self, nodes: &'a [Node]) -> Vec<Value<'a>> {
        let item = |(i, node): (usize, &'a Node)| Value {
            node,
            at: node.at,
            key: format!("{}[{i}]", self.key),
            sink: self.sink,
        };
        nodes.iter().enumerate().map(item).collect()
    }

    /// A map whose keys we know.
    pub(super) fn map(&self) -> Option<Map<'a>> {
        self.map_or("a map of keys")
    }

    /// [`Value::map`], where `what` says for the message what else is allowed.
    pub(super) fn map_or(&self, what: &str) -> Option<Map<'a>> {
        let entries = self.entries(what)?;
        Some(Map::new(self, entries))
    }

    /// The entries of a map; `what` says which, for the message.
    pub(super) fn entries(&self, what: &str) -> Option<&'a [Entry]> {
        match &self.node.kind {
            Kind::Map(entries) => Some(entries),
            _ => {
                self.must_be(what);
                None
            }
        }
    }

    /// The value of one of this map's entries.
    pub(super) fn child(&self, entry: &'a Entry) -> Value<'a> {
        Value::of_entry(&self.key, entry, self.sink)
    }

    /// The value of an entry of the map at `parent`.
    pub(super) fn of_entry(parent: &str, entry: &'a Entry, sink: &'a Sink) -> Self {
        let node = &entry.value;
        let at = match node.kind {
            Kind::Scalar { .. } => node.at,
            _ => entry.at,
        };
        let key = join(parent, &entry.key);
        Value { node, at, key, sink }
    }
}

/// ` (line 12)`, or nothing where there is no file.
pub(super) fn line(at: impl Into<Position>) -> String {
    match at.into().line {
        0 => String::new(),
        line => format!(" (line {line})"),
    }
}
