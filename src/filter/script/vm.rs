//! One VM with one script in it: made by one thread, for that thread.
//!
//! What holds a script back is Luau's own sandbox: its library has no files, no processes, no clock and no code from elsewhere;
//! what is global can be changed while the file is loaded, and not any more when requests come.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use mlua::chunk::{ChunkMode, Compiler};
use mlua::state::LuaOptions;
use mlua::{Error, Function, Lua, Result, StdLib, Table, Value};
use pingora::http::{RequestHeader, ResponseHeader};

use super::api;
use super::bound::Bound;
use super::failure::{Cause, Failure};
use super::kept::Kept;
use super::message::{Facts, Message, Reply, Rights};
use super::source::Source;
use crate::filter::Hook;

const PRELUDE: &str = include_str!("prelude.luau");

/// What a script finds of the library.
const LIBRARY: [StdLib; 8] = [
    StdLib::COROUTINE,
    StdLib::TABLE,
    StdLib::STRING,
    StdLib::UTF8,
    StdLib::BIT,
    StdLib::MATH,
    StdLib::BUFFER,
    StdLib::VECTOR,
];

/// Of the functions that are always there, those that reach out of the sandbox or change what other functions see.
const NOT_FOR_SCRIPTS: [&str; 7] =
    ["collectgarbage", "gcinfo", "getfenv", "loadstring", "newproxy", "require", "setfenv"];

/// How long the file itself may run, at its loading.
const LOAD_TIME: Duration = Duration::from_millis(100);

pub(super) struct Vm {
    lua: Lua,
    message: Rc<RefCell<Message>>,
    bound: Rc<Bound>,
    hooks: [Option<Function>; Hook::COUNT],
    request: Table,
    response: Table,
    /// Whether a call is under way; one that has ended by a panic leaves it so.
    busy: Cell<bool>,
}

/// What is lent to a call.
pub(super) struct Passing<'a> {
    pub(super) request: &'a mut RequestHeader,
    pub(super) response: Option<&'a mut ResponseHeader>,
    pub(super) rights: Rights,
    pub(super) facts: Facts,
    pub(super) kept: Kept,
}

impl Vm {
    /// Load a script.
    ///
    /// # Errors
    /// Its mistake, or that it exceeds its bounds.
    pub(super) fn new(source: &Source) -> std::result::Result<Self, Failure> {
        let message = Message::empty().map_err(|e| Failure { cause: Cause::Error, message: e.to_string() })?;
        let bound = Rc::new(Bound::new(&source.chunk));
        let vm = Self::load(source, message, Rc::clone(&bound));
        match bound.exceeded() {
            Some(line) => Err(Failure { cause: Cause::Time, message: at(source, line, "takes too long to load") }),
            None => vm.map_err(|e| Failure::of(&e, &source.chunk)),
        }
    }

    fn load(source: &Source, message: Message, bound: Rc<Bound>) -> Result<Self> {
        let library = LIBRARY.into_iter().fold(StdLib::NONE, |all, one| all | one);
        let lua = Lua::new_with(library, LuaOptions::new().catch_rust_panics(false))?;
        lua.set_compiler(Compiler::new().set_optimization_level(2));
        for name in NOT_FOR_SCRIPTS {
            lua.globals().raw_remove(name)?;
        }
        let message = Rc::new(RefCell::new(message));
        let host = lua.create_table()?;
        api::add(&lua, &host, &message, source.memory, &source.chunk)?;
        let (request, response, kept): (Table, Table, Table) =
            lua.load(PRELUDE).set_name("=evenkeel").set_mode(ChunkMode::Text).call(host)?;
        [&request, &response, &kept].into_iter().for_each(|table| table.set_readonly(true));
        lua.sandbox(true)?;
        let step = Rc::clone(&bound);
        lua.set_interrupt(move |lua| step.step(lua));
        lua.set_memory_limit(source.memory)?;
        bound.begin(LOAD_TIME);
        // As text: bytecode is not checked, and may do anything.
        lua.load(&source.text[..]).set_name(format!("@{}", source.chunk)).set_mode(ChunkMode::Text).exec()?;
        lua.globals().set_readonly(true);
        let mut hooks = [const { None }; Hook::COUNT];
        for (name, hook) in super::HOOKS {
            hooks[hook as usize] = match lua.globals().get(name)? {
                Value::Nil => None,
                Value::Function(function) => Some(function),
                other => return Err(Error::runtime(format!("{name} must be a function, got {}", other.type_name()))),
            };
        }
        Ok(Vm { lua, message, bound, hooks, request, response, busy: Cell::new(false) })
    }

    /// Whether it has a function for this hook.
    pub(super) fn has(&self, hook: Hook) -> bool {
        self.hooks[hook as usize].is_some()
    }

    /// What the script has made global.
    pub(super) fn globals(&self) -> Table {
        self.lua.globals()
    }

    /// Whether it can be called again.
    pub(super) fn is_usable(&self) -> bool {
        !self.busy.get()
    }

    /// Call a hook. What the script keeps is given back whatever happens.
    pub(super) fn call(
        &self,
        hook: Hook,
        mut passing: Passing<'_>,
        source: &Source,
    ) -> (Kept, std::result::Result<Option<Reply>, Failure>) {
        let Some(function) = &self.hooks[hook as usize] else { return (passing.kept, Ok(None)) };
        self.busy.set(true);
        self.swap(&mut passing);
        self.message.borrow_mut().begin(passing.rights, passing.facts, std::mem::take(&mut passing.kept));
        self.bound.begin(source.time);
        let called = match &passing.response {
            Some(_) => function.call::<()>((&self.request, &self.response)),
            None => function.call::<()>(&self.request),
        };
        let (kept, reply) = self.message.borrow_mut().end();
        let mut lent = self.message.borrow_mut();
        std::mem::swap(&mut lent.request, passing.request);
        if let Some(response) = passing.response {
            std::mem::swap(&mut lent.response, response);
        }
        self.busy.set(false);
        (kept, self.outcome(called, source).map(|()| reply))
    }

    fn swap(&self, passing: &mut Passing<'_>) {
        let mut lent = self.message.borrow_mut();
        std::mem::swap(&mut lent.request, passing.request);
        if let Some(response) = &mut passing.response {
            std::mem::swap(&mut lent.response, *response);
        }
    }

    fn outcome(&self, called: Result<()>, source: &Source) -> std::result::Result<(), Failure> {
        // Even if the script has caught it.
        if let Some(line) = self.bound.exceeded() {
            let what = format!("took more than {:?}", source.time);
            return Err(Failure { cause: Cause::Time, message: at(source, line, &what) });
        }
        called.map_err(|e| {
            let mut failure = Failure::of(&e, &source.chunk);
            if failure.cause == Cause::Memory {
                failure.message = at(source, None, &format!("needed more than {} of memory", source.memory_written()));
            }
            failure
        })
    }
}

fn at(source: &Source, line: Option<usize>, what: &str) -> String {
    match line {
        Some(line) => format!("{}:{line}: {what}", source.chunk),
        None => format!("{}: {what}", source.chunk),
    }
}

/// Do something small that needs memory, without asking whether there is any left: to be able to fail, each allocation would be
/// a protected call, which costs more than all else here. What it takes counts, and the script's next allocation fails.
pub(super) fn unlimited<T>(lua: &Lua, limit: usize, make: impl FnOnce(&Lua) -> Result<T>) -> Result<T> {
    lua.set_memory_limit(0)?;
    let made = make(lua);
    lua.set_memory_limit(limit)?;
    made
}
