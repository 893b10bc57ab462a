//! The file as a tree in which every node knows its place.

use super::Position;

/// One node.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) kind: Kind,
}

impl Node {
    /// How many levels of maps and lists it holds.
    pub(super) fn height(&self) -> usize {
        match &self.kind {
            Kind::List(nodes) => 1 + nodes.iter().map(Node::height).max().unwrap_or(0),
            Kind::Map(entries) => 1 + entries.iter().map(|entry| entry.value.height()).max().unwrap_or(0),
            _ => 0,
        }
    }
}

/// What a node is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// Nothing, `~` or `null`.
    Null,
    /// Any other scalar; a plain one may be a number or a truth value.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a map and what stands beside it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: Position,
    pub(super) value: Node,
}

/// `parent.child`, or just `child` at the top. What a file calls a key is shortened and made printable.
pub(super) fn join(parent: &str, child: &str) -> String {
    let child = super::text::short(child);
    if parent.is_empty() { child } else { format!("{parent}.{child}") }
}
