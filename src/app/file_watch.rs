//! `watch: true`: a file that has changed is loaded, once it has stopped changing.
//!
//! It is looked at rather than subscribed to: editors replace files, and Kubernetes the folder behind a link, and both would
//! have a subscription hold on to what is gone.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// How often to look.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// What changes when a file does: device, number, size, time of change.
pub(super) type Stamp = (u64, u64, u64, i64, i64);

/// The stamp of a file, behind links; `None` while it is not there.
pub(super) fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}

/// What was seen of a file, or of several that belong together.
#[derive(Debug)]
pub(super) struct FileWatch<S = Stamp> {
    loaded: Option<S>,
    last: Option<S>,
}

impl<S> Default for FileWatch<S> {
    fn default() -> Self {
        FileWatch { loaded: None, last: None }
    }
}

impl<S: Clone + PartialEq> FileWatch<S> {
    /// It is loaded, or was tried to be, as it is now.
    pub(super) fn loaded(&mut self, stamp: Option<S>) {
        self.loaded.clone_from(&stamp);
        self.last = stamp;
    }

    /// Whether it is to be loaded: it differs from what was loaded, and does not differ from what it was at the last look, so that
    /// nobody is still writing it.
    pub(super) fn look(&mut self, stamp: Option<S>) -> bool {
        let still = self.last == stamp;
        self.last = stamp;
        still && self.last.is_some() && self.last != self.loaded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_loaded_when_it_has_stopped_changing_and_once() {
        let version = |n| Some((1, 1, n, 0, 0));
        let mut watch = FileWatch::default();
        watch.loaded(version(1));
        let looks = [1, 1, 2, 3, 3];
        assert_eq!(looks.map(|n| watch.look(version(n))), [false, false, false, false, true]);
        watch.loaded(version(3));
        assert!(!watch.look(version(3)), "whether or not it was any good");
        assert_eq!([None, None, version(4), version(4)].map(|stamp| watch.look(stamp)), [false, false, false, true]);
    }
}
