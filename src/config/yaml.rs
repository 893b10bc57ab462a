//! From YAML text to a tree of [`Node`]s.
//!
//! Of YAML this takes what a configuration needs: one document, maps with plain keys, lists, scalars, anchors and aliases.
//! Tags and merge keys are refused by name rather than half understood. Depth and number of nodes are bounded, so that
//! no file, however hostile, can exhaust the stack or the memory.

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, Tag};

use super::node::{Entry, Kind, Node, join};
use super::text::shown;
use super::{Mistake, Position};

/// The largest file. Ten thousand backends need about 1 MiB.
pub(super) const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// How deep maps and lists may stand in each other; the deepest key of ours is at 6.
const MAX_DEPTH: usize = 64;
/// How many nodes a file may have, aliases written out: what a "billion laughs" file runs into.
const MAX_NODES: usize = 500_000;

/// Read `text` as a tree whose top is a map; `None` if it is none. Repeated keys, tags and merge keys are reported and the
/// tree goes without them; a syntax error ends the reading.
pub(super) fn parse(text: &str) -> (Option<Node>, Vec<Mistake>) {
    let fatal = |at, message: &str| (None, vec![Mistake::new(at, "", message)]);
    if text.len() as u64 > MAX_BYTES {
        return fatal(Position::default(), &too_large());
    }
    // The parser takes a NUL for the end of the text, and what follows it would be ignored in silence.
    if let Some(nul) = text.find('\0') {
        return fatal(position_of(text, nul), "is not a text file: it holds a NUL byte");
    }
    let mut builder =
        Builder { parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0, mistakes: Vec::new() };
    let top = builder.document();
    let mut mistakes = builder.mistakes;
    let wrong = match top {
        Ok(Some(top @ Node { kind: Kind::Map(_), .. })) => return (Some(top), mistakes),
        Ok(None | Some(Node { kind: Kind::Null, .. })) => {
            Mistake::new(Position::default(), "", "is empty; see conf/minimal.yaml for a start")
        }
        Ok(Some(other)) => {
            let message = format!("must be a map of keys at the top, like 'listeners:', got {}", shown(&other));
            Mistake::new(other.at, "", message)
        }
        Err(fatal) => fatal,
    };
    mistakes.push(wrong);
    (None, mistakes)
}

/// The message for a file over [`MAX_BYTES`].
pub(super) fn too_large() -> String {
    format!("is larger than {} MiB, which no configuration is", MAX_BYTES / 1024 / 1024)
}

/// The line and column of a byte offset.
pub(super) fn position_of(text: &str, offset: usize) -> Position {
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |n| n + 1);
    Position { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
}

/// A node that aliases stand for.
struct Anchored {
    node: Node,
    /// How many nodes it holds.
    nodes: usize,
    /// How many levels.
    height: usize,
}

struct Builder<'i> {
    parser: Parser<'i, StrInput<'i>>,
    /// Finished anchored nodes. One that is missing is still being read, and so holds itself.
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    mistakes: Vec<Mistake>,
}

type Item<'i> = (Event<'i>, Span);

impl<'i> Builder<'i> {
    fn next(&mut self) -> Result<Item<'i>, Mistake> {
        match self.parser.next_event() {
            Some(Ok(item)) => Ok(item),
            Some(Err(e)) => Err(Mistake::new(place(e.marker()), "", format!("is not valid YAML: {}", e.info()))),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    /// The one document, or `None` if there is none.
    fn document(&mut self) -> Result<Option<Node>, Mistake> {
        let mut top = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(top),
                Event::DocumentStart(_) if top.is_some() => {
                    return Err(Mistake::new(
                        place(&span.start),
                        "",
                        "a second YAML document starts here; a configuration is one",
                    ));
                }
                Event::DocumentStart(_) => {
                    let item = self.next()?;
                    top = Some(self.node(item, "", 0)?);
                }
                _ => {}
            }
        }
    }

    /// The node that starts with `item`, at `key`.
    fn node(&mut self, item: Item<'i>, key: &str, depth: usize) -> Result<Node, Mistake> {
        let (event, span) = item;
        let at = place(&span.start);
        if depth > MAX_DEPTH {
            return Err(too_deep(at, key));
        }
        let before = self.nodes;
        self.count(1, at, key)?;
        let (kind, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.as_ref(), at, key);
                (scalar(text, style), anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.as_ref(), at, key);
                (Kind::List(self.list(key, depth)?), anchor)
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.as_ref(), at, key);
                (Kind::Map(self.map(key, depth)?), anchor)
            }
            Event::Alias(anchor) => return self.alias(anchor, at, key, depth),
            _ => (Kind::Null, 0),
        };
        let node = Node { at, kind };
        if anchor > 0 {
            let nodes = self.nodes - before;
            self.count(nodes, at, key)?;
            let height = node.height();
            let node = node.clone();
            self.anchors.insert(anchor, Anchored { node, nodes, height });
        }
        Ok(node)
    }

    fn list(&mut self, key: &str, depth: usize) -> Result<Vec<Node>, Mistake> {
        let mut nodes = Vec::new();
        loop {
            let item = self.next()?;
            if matches!(item.0, Event::SequenceEnd | Event::StreamEnd) {
                return Ok(nodes);
            }
            nodes.push(self.node(item, &format!("{key}[{}]", nodes.len()), depth + 1)?);
        }
    }

    fn map(&mut self, key: &str, depth: usize) -> Result<Vec<Entry>, Mistake> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut lines: HashMap<String, usize> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            let at = place(&span.start);
            let name = match event {
                Event::MappingEnd | Event::StreamEnd => return Ok(entries),
                Event::Scalar(name, _, 0, None) => name.into_owned(),
                _ => {
                    let message = "a key must be a plain word (text with a { or [ in front needs quotes)";
                    return Err(Mistake::new(at, key, message));
                }
            };
            let child = join(key, &name);
            let item = self.next()?;
            let value = self.node(item, &child, depth + 1)?;
            if name == "<<" {
                let message = "merge keys are not supported; write the keys out, or give whole values with & and *";
                self.mistakes.push(Mistake::new(at, child, message));
            } else if let Some(line) = lines.get(&name) {
                let message = format!("is written twice, first on line {line}");
                self.mistakes.push(Mistake::new(at, child, message));
            } else {
                lines.insert(name.clone(), at.line);
                entries.push(Entry { key: name, at, value });
            }
        }
    }

    fn alias(&mut self, anchor: usize, at: Position, key: &str, depth: usize) -> Result<Node, Mistake> {
        let Some(Anchored { nodes, height, .. }) = self.anchors.get(&anchor) else {
            return Err(Mistake::new(at, key, "refers to an anchor that holds this very place"));
        };
        if depth + height > MAX_DEPTH {
            return Err(too_deep(at, key));
        }
        // Counted before it is copied: the copy is what a hostile file is after.
        self.count(*nodes, at, key)?;
        Ok(self.anchors[&anchor].node.clone())
    }

    fn count(&mut self, nodes: usize, at: Position, key: &str) -> Result<(), Mistake> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return Err(too_many(at, key));
        }
        Ok(())
    }

    fn refuse_tag(&mut self, tag: Option<&Cow<'_, Tag>>, at: Position, key: &str) {
        if tag.is_some() {
            let message = "has a YAML tag ('!…'), which is not supported; text that starts with '!' needs quotes";
            self.mistakes.push(Mistake::new(at, key, message));
        }
    }
}

fn too_many(at: Position, key: &str) -> Mistake {
    Mistake::new(at, key, format!("is one value too many: a file may hold {MAX_NODES}, aliases written out"))
}

fn too_deep(at: Position, key: &str) -> Mistake {
    Mistake::new(at, key, format!("is nested more than {MAX_DEPTH} levels deep"))
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle) -> Kind {
    let plain = style == ScalarStyle::Plain;
    if plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
        return Kind::Null;
    }
    Kind::Scalar { text: text.into_owned(), plain }
}

fn place(marker: &Marker) -> Position {
    Position { line: marker.line(), column: marker.col() + 1 }
}
