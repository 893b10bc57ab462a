//! A script as it was read: its text, its bounds, and which hooks it has.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use mlua::{Function, Value};

use super::HOOKS;
use super::vm::Vm;
use crate::config::{contents, nearest};
use crate::filter::Hook;

/// A hook of this size is no hook.
const MOST_TEXT: u64 = 1 << 20;

/// A script's text, and what it may use.
pub(super) struct Source {
    /// What it is called in messages: its file, as the configuration names it.
    pub(super) chunk: String,
    pub(super) path: PathBuf,
    pub(super) text: Vec<u8>,
    /// For each call.
    pub(super) time: Duration,
    /// Of each VM, in all.
    pub(super) memory: usize,
    hooks: [bool; Hook::COUNT],
}

impl Source {
    /// Read a script and try it out.
    ///
    /// # Errors
    /// Its mistake, with the file and the line.
    pub(super) fn read(file: &Path, path: PathBuf, time: Duration, memory: usize) -> Result<Self, String> {
        let chunk = file.display().to_string();
        let text = contents(&path, MOST_TEXT).map_err(|why| format!("not usable here: {}: {why}", path.display()))?;
        let mut source = Source { chunk, path, text, time, memory, hooks: [false; Hook::COUNT] };
        let vm = Vm::new(&source).map_err(|failure| failure.message)?;
        source.hooks = std::array::from_fn(|hook| HOOKS.iter().any(|(_, it)| *it as usize == hook && vm.has(*it)));
        source.misspelt(&vm)?;
        if !source.hooks.contains(&true) {
            let known = HOOKS.map(|(name, _)| name).join(", ");
            return Err(format!("{}: has no function of a hook; hooks are {known}", source.chunk));
        }
        Ok(source)
    }

    /// Whether it has a function for this hook.
    #[inline]
    pub(super) fn has(&self, hook: Hook) -> bool {
        self.hooks[hook as usize]
    }

    pub(super) fn memory_written(&self) -> String {
        ByteSize(self.memory as u64).to_string()
    }

    /// A function that is nearly called as a hook is meant to be one.
    fn misspelt(&self, vm: &Vm) -> Result<(), String> {
        let names = HOOKS.map(|(name, _)| name);
        for pair in vm.globals().pairs::<String, Value>() {
            let Ok((name, Value::Function(function))) = pair else { continue };
            if names.contains(&name.as_str()) {
                continue;
            }
            if let Some(near) = nearest(&name, names.iter().copied()) {
                let line = self.line_of(&function).map_or(String::new(), |line| format!("{line}:"));
                return Err(format!("{}:{line} function '{name}' is no hook, did you mean '{near}'?", self.chunk));
            }
        }
        Ok(())
    }

    /// Where a function is defined, if it is one of this file.
    fn line_of(&self, function: &Function) -> Option<usize> {
        let info = function.info();
        info.line_defined.filter(|_| info.short_src.as_ref() == Some(&self.chunk))
    }
}
