//! What to start as a successor: the program that now stands where this one was started from.

use std::env;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::app::systemd::OF_ONE_PROCESS;

/// How this process was started.
#[derive(Clone, Debug)]
pub(in crate::app) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    folder: Option<PathBuf>,
    /// It was told to take over, too.
    upgrade: bool,
}

impl Program {
    /// This process. To be asked at its start: a daemon goes elsewhere, and the file may be replaced.
    pub(in crate::app) fn this(upgrade: bool) -> Self {
        let mut arguments = env::args_os();
        let called = arguments.next().map(PathBuf::from);
        let own = env::current_exe().unwrap_or_default();
        let path = called.and_then(|called| find(&called)).filter(|found| same_file(found, &own)).unwrap_or(own);
        Program { path, arguments: arguments.collect(), folder: env::current_dir().ok(), upgrade }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A path that it was given.
    pub(in crate::app) fn resolve(&self, path: &str) -> PathBuf {
        self.folder.as_ref().map_or_else(|| path.into(), |folder| folder.join(path))
    }

    /// The command that starts a successor.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        // Ahead of the others: behind a subcommand it would be that one's.
        if !self.upgrade {
            command.arg("-u");
        }
        command.args(&self.arguments);
        for name in OF_ONE_PROCESS {
            command.env_remove(name);
        }
        if let Some(folder) = self.folder.as_ref().filter(|folder| folder.is_dir()) {
            command.current_dir(folder);
        }
        command
    }
}

/// The file that is meant by the name that a program was called by: symbolic links are kept, since they may point to another
/// version by the time of an upgrade.
fn find(called: &Path) -> Option<PathBuf> {
    if called.components().count() > 1 || called.is_absolute() {
        return std::path::absolute(called).ok();
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(called)).find(|file| file.is_file())
}

fn same_file(one: &Path, other: &Path) -> bool {
    match (one.metadata(), other.metadata()) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_as_a_shell_would_and_links_are_kept() {
        assert!(find(Path::new("sh")).is_some_and(|found| found.is_absolute() && found.ends_with("sh")));
        assert_eq!(find(Path::new("no-such-program")), None);
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("v1"), dir.path().join("current"));
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(find(&link), Some(link.clone()));
        assert!(same_file(&link, &file) && !same_file(&link, Path::new("/bin/sh")));
    }

    #[test]
    fn it_is_told_to_take_over_once() {
        let told = |upgrade, arguments: &[&str]| {
            let arguments = arguments.iter().map(OsString::from).collect();
            let program = Program { path: "/bin/x".into(), arguments, folder: None, upgrade };
            program.command().get_args().map(|argument| argument.to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(told(false, &["-c", "a.yaml"]), ["-u", "-c", "a.yaml"]);
        assert_eq!(told(true, &["-c", "a.yaml", "-u"]), ["-c", "a.yaml", "-u"]);
    }
}
