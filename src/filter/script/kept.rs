//! What a script keeps of a request for its later hooks. Each may run on another thread, in another VM, so that what is kept is
//! plain data.

use mlua::{BString, Error, FromLua, IntoLua, Lua, Result, Value};

/// A request is not the place for more.
const MOST_KEYS: usize = 64;
const MOST_BYTES: usize = 64 * 1024;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Plain {
    Nil,
    Boolean(bool),
    Number(f64),
    Text(BString),
}

/// In the context's extensions: what each script has kept, by its number.
#[derive(Clone, Default)]
pub(super) struct AllKept(Vec<(u64, Kept)>);

impl AllKept {
    /// Take what a script has kept, to be put back.
    pub(super) fn take(&mut self, script: u64) -> Kept {
        let found = self.0.iter().position(|(number, _)| *number == script);
        found.map(|found| self.0.swap_remove(found).1).unwrap_or_default()
    }

    pub(super) fn put(&mut self, script: u64, kept: Kept) {
        self.0.push((script, kept));
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    values: Vec<(BString, Plain)>,
    bytes: usize,
}

impl Kept {
    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub(super) fn get(&self, key: &BString) -> Plain {
        self.values.iter().find(|(known, _)| known == key).map_or(Plain::Nil, |(_, value)| value.clone())
    }

    /// Keep a value under this key, or none any more.
    pub(super) fn set(&mut self, key: BString, value: Plain) -> Result<()> {
        if let Some(known) = self.values.iter().position(|(known, _)| *known == key) {
            let (key, value) = self.values.swap_remove(known);
            self.bytes -= key.len() + value.bytes();
        }
        if value == Plain::Nil {
            return Ok(());
        }
        let bytes = self.bytes + key.len() + value.bytes();
        if bytes > MOST_BYTES || self.values.len() == MOST_KEYS {
            return Err(Error::runtime(format!("ctx holds at most {MOST_KEYS} values of {MOST_BYTES} bytes in all")));
        }
        self.bytes = bytes;
        self.values.push((key, value));
        Ok(())
    }
}

impl Plain {
    fn bytes(&self) -> usize {
        if let Plain::Text(text) = self { text.len() } else { 0 }
    }
}

impl FromLua for Plain {
    fn from_lua(value: Value, lua: &Lua) -> Result<Self> {
        Ok(match value {
            Value::Nil => Plain::Nil,
            Value::Boolean(value) => Plain::Boolean(value),
            Value::Integer(_) | Value::Number(_) => Plain::Number(f64::from_lua(value, lua)?),
            Value::String(text) => Plain::Text(BString::from(&*text.as_bytes())),
            other => {
                let kind = other.type_name();
                return Err(Error::runtime(format!("ctx keeps texts, numbers and booleans, not a {kind}")));
            }
        })
    }
}

impl IntoLua for Plain {
    fn into_lua(self, lua: &Lua) -> Result<Value> {
        match self {
            Plain::Nil => Ok(Value::Nil),
            Plain::Boolean(value) => value.into_lua(lua),
            Plain::Number(value) => value.into_lua(lua),
            Plain::Text(text) => text.into_lua(lua),
        }
    }
}
