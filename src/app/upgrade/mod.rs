//! One process takes another's place, and no connection is refused in between.
//!
//! The successor listens on `upgrade_sock`; the predecessor connects, and gives it its sockets and what it knows of its
//! backends. Until the successor has said that it is ready, has been told to go, and has said that it serves, the
//! predecessor goes on accepting. If anything goes wrong before that, whatever it is, nothing has happened.
//!
//! ```text
//! successor                                    predecessor
//! listens on upgrade_sock                      started it, or got QUIT
//!                      Hello { version }  →
//!                                         ←    Offer { listeners, pools, … }, and the sockets
//! loads, adopts, binds, probes
//!                      Ready { … }        →    or Failed { why }
//!                                         ←    Go
//! accepts
//!                      Serving            →
//!                                              accepts no more, finishes what it has, ends
//! ```
//!
//! Pingora's own hand-over (`ServerConf::upgrade_sock`, the same place) ends the old process in any case.

mod predecessor;
mod program;
mod successor;
mod wire;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::front::SavedKeys;
use crate::pool::SavedPool;

pub(super) use predecessor::{HandOver, How, hand_over};
pub(super) use program::Program;
pub(super) use successor::{Inheritance, Succession};

/// Of these messages. What is added to one and may be ignored does not change it.
const VERSION: u32 = 1;

/// What the successor says.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    Hello { version: u32, pid: u32 },
    Ready(Ready),
    Failed { why: String },
    Serving,
}

/// What a successor has made of what it was offered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Ready {
    /// Its process.
    pub(super) pid: u32,
    /// Sockets that it goes on with.
    pub(super) adopted: usize,
    /// Listeners that it has bound itself.
    pub(super) opened: usize,
    /// Sockets that it has no use for.
    pub(super) closed: usize,
}

/// What the predecessor says.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Offer(Offer),
    Go,
}

/// What a successor is given. As many sockets as it has `listeners` follow, in their order; before them the predecessor's
/// standard error, if `stderr`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Offer {
    version: u32,
    pid: u32,
    /// As the predecessor's configuration wrote them.
    listeners: Vec<String>,
    stderr: bool,
    /// A list of [`SavedPool`]. As it comes: if it cannot be read, the sockets are worth more than that.
    pools: serde_json::Value,
    /// What cookies are signed with that have no secret of their own.
    secret: Option<Secret>,
    /// What session tickets are made with.
    tickets: SavedKeys,
}

/// What nobody is to read but the successor.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
struct Secret([u8; 32]);

impl fmt::Debug for Secret {
    /// Not what it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret")
    }
}

impl Offer {
    fn pools(&self) -> Vec<SavedPool> {
        serde_json::from_value(self.pools.clone()).unwrap_or_else(|e| {
            log::warn!("what the old process knows of its backends cannot be read: {e}");
            Vec::new()
        })
    }
}
