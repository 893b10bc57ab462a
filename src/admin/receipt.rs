//! What a reload has done, or would do: for people, and as JSON.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a reload has done, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The number of the configuration that it leads to; 1 is the one that the process started with.
    pub generation: u64,
    /// Pools by name.
    pub pools: Tally,
    /// Backends by pool and address, as they are found now.
    pub backends: Tally,
    /// Listeners by address.
    pub listeners: Tally,
    /// Routes by what they match.
    pub routes: Tally,
    /// Everything that is not kept, one after the other.
    pub changes: Vec<Difference>,
    /// What only an upgrade can change; a reload then changes nothing at all.
    pub needs_upgrade: Vec<String>,
    /// What does not keep anybody from going on.
    pub warnings: Vec<String>,
}

/// How many of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// As they were.
    pub kept: usize,
    /// With other settings; what is known of them stays.
    pub changed: usize,
    /// New.
    pub added: usize,
    /// Gone. What is under way there is finished.
    pub removed: usize,
}

/// One thing that is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// `pool api`, `backend api/10.0.0.1:80`, `listener 0.0.0.0:80`, `route api.example.com/v1`, `limits`.
    pub what: String,
    /// What becomes of it.
    pub change: Change,
    /// Which of its keys, where it is changed.
    pub keys: Vec<String>,
}

/// What becomes of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It has other settings.
    Changed,
    /// It is new.
    Added,
    /// It goes.
    Removed,
    /// It takes no new work, and finishes what it has: what becomes of a backend that goes.
    Draining,
}

impl Receipt {
    /// Whether everything stays as it is.
    pub fn nothing(&self) -> bool {
        self.changes.is_empty() && self.needs_upgrade.is_empty()
    }

    /// Note a thing that is not kept. `keys` are those that differ.
    pub(crate) fn note(&mut self, what: impl Into<String>, change: Change, keys: Vec<String>) {
        self.changes.push(Difference { what: what.into(), change, keys });
    }
}

impl Tally {
    /// Count one more.
    pub(crate) fn count(&mut self, change: Option<Change>) {
        *match change {
            None => &mut self.kept,
            Some(Change::Changed) => &mut self.changed,
            Some(Change::Added) => &mut self.added,
            Some(Change::Removed | Change::Draining) => &mut self.removed,
        } += 1;
    }

    fn words(self, removed: &str) -> String {
        let parts = [(self.kept, "kept"), (self.changed, "changed"), (self.added, "added"), (self.removed, removed)];
        let some: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
        if some.is_empty() { "none".to_owned() } else { some.join(", ") }
    }
}

/// `generation 7: pools 3 kept, 1 added; backends 41 kept, 2 added, 1 draining; listeners 3 kept; routes 5 kept`
impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Receipt { generation, pools, backends, listeners, routes, .. } = self;
        let (pools, backends) = (pools.words("removed"), backends.words("draining"));
        let (listeners, routes) = (listeners.words("removed"), routes.words("removed"));
        write!(
            f,
            "generation {generation}: pools {pools}; backends {backends}; listeners {listeners}; routes {routes}"
        )?;
        // What stands at the top of the file is one each, and known by its key.
        let top = self.changes.iter().map(|one| one.what.as_str()).filter(|what| !what.contains(' '));
        let top: Vec<&str> = top.collect();
        if top.is_empty() { Ok(()) } else { write!(f, "; changed: {}", top.join(", ")) }
    }
}

/// `pool api: changed (balance, timeouts)`
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let change = match self.change {
            Change::Changed => "changed",
            Change::Added => "added",
            Change::Removed => "removed",
            Change::Draining => "draining",
        };
        write!(f, "{}: {change}", self.what)?;
        match &self.keys[..] {
            [] => Ok(()),
            keys => write!(f, " ({})", keys.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_it_all() {
        let receipt = Receipt {
            generation: 7,
            pools: Tally { kept: 3, added: 1, ..Tally::default() },
            backends: Tally { kept: 41, added: 2, removed: 1, ..Tally::default() },
            listeners: Tally { kept: 3, ..Tally::default() },
            ..Receipt::default()
        };
        let line =
            "generation 7: pools 3 kept, 1 added; backends 41 kept, 2 added, 1 draining; listeners 3 kept; routes none";
        assert_eq!(receipt.to_string(), line);
        // It said nothing of filters of the whole, as if nothing had happened.
        let mut receipt = receipt;
        receipt.note("pool api", Change::Changed, vec!["retry".to_owned()]);
        receipt.note("filters", Change::Changed, Vec::new());
        receipt.note("limits", Change::Changed, Vec::new());
        assert_eq!(receipt.to_string(), format!("{line}; changed: filters, limits"));
    }

    #[test]
    fn a_difference_names_its_keys() {
        let (what, keys) = ("pool api".to_owned(), vec!["balance".to_owned(), "retry".to_owned()]);
        let difference = Difference { what, change: Change::Changed, keys };
        assert_eq!(difference.to_string(), "pool api: changed (balance, retry)");
    }
}
