//! The functions for headers, of the request and of the response. Names are parsed once, and have numbers from then on.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use mlua::{BString, Error, Lua, LuaString, Result, Table};

use super::message::Message;
use super::vm::unlimited;

/// Which header: of the request, or of the response.
const REQUEST: u8 = 0;

/// What tells where a message ends, and of whom a connection is. A script does not touch bodies, so these are right as they are.
const FRAMING: [HeaderName; 6] = [CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

/// A header's name, and how the script writes it, which is how HTTP/1.1 is told.
struct Name {
    name: HeaderName,
    written: String,
    framing: bool,
}

type Names = Rc<RefCell<Vec<Rc<Name>>>>;
type Shared = Rc<RefCell<Message>>;

/// Give `host` the functions.
pub(super) fn add(lua: &Lua, host: &Table, message: &Shared, limit: usize) -> Result<()> {
    let names = Names::default();
    let known = Rc::clone(&names);
    host.raw_set("name", lua.create_function(move |_, written: String| number(&known, written))?)?;
    let known = Rc::clone(&names);
    host.raw_set(
        "forget_names",
        lua.create_function(move |_, ()| {
            known.borrow_mut().clear();
            Ok(())
        })?,
    )?;
    add_readers(lua, host, message, &names, limit)?;
    add_writers(lua, host, message, &names)
}

fn add_readers(lua: &Lua, host: &Table, message: &Shared, names: &Names, limit: usize) -> Result<()> {
    let (shared, known) = (Rc::clone(message), Rc::clone(names));
    let header = move |lua: &Lua, (side, number): (u8, usize)| -> Result<Option<LuaString>> {
        let message = shared.borrow();
        let value = map(&message, side)?.get(&name(&known, number)?.name);
        value.map(|value| unlimited(lua, limit, |lua| lua.create_string(value.as_bytes()))).transpose()
    };
    host.raw_set("header", lua.create_function(header)?)?;
    let (shared, known) = (Rc::clone(message), Rc::clone(names));
    let headers = move |lua: &Lua, (side, number): (u8, usize)| -> Result<Vec<LuaString>> {
        let message = shared.borrow();
        let values = map(&message, side)?.get_all(&name(&known, number)?.name);
        values.iter().map(|value| lua.create_string(value.as_bytes())).collect()
    };
    host.raw_set("headers", lua.create_function(headers)?)
}

fn add_writers(lua: &Lua, host: &Table, message: &Shared, names: &Names) -> Result<()> {
    let writer = |put: fn(&mut Message, u8, &Name, HeaderValue) -> Result<()>| {
        let (shared, known) = (Rc::clone(message), Rc::clone(names));
        lua.create_function(move |_, (side, number, text): (u8, usize, BString)| {
            let name = name(&known, number)?;
            not_framing(&name)?;
            put(&mut shared.borrow_mut(), side, &name, value(&name, text)?)
        })
    };
    host.raw_set("set_header", writer(insert)?)?;
    host.raw_set("add_header", writer(append)?)?;
    let (shared, known) = (Rc::clone(message), Rc::clone(names));
    let remove = move |_: &Lua, (side, number): (u8, usize)| {
        let name = name(&known, number)?;
        not_framing(&name)?;
        remove(&mut shared.borrow_mut(), side, &name)
    };
    host.raw_set("remove_header", lua.create_function(remove)?)
}

fn number(names: &Names, written: String) -> Result<usize> {
    let name = parsed(written)?;
    let mut names = names.borrow_mut();
    names.push(Rc::new(name));
    Ok(names.len() - 1)
}

fn parsed(written: String) -> Result<Name> {
    let wrong = |_| Error::runtime(format!("{written:?} is not the name of a header"));
    let name = HeaderName::from_bytes(written.as_bytes()).map_err(wrong)?;
    let framing = FRAMING.contains(&name);
    Ok(Name { name, written, framing })
}

fn name(names: &Names, number: usize) -> Result<Rc<Name>> {
    let found = names.borrow().get(number).map(Rc::clone);
    found.ok_or_else(|| Error::runtime("the name of a header must be a text"))
}

fn value(name: &Name, text: BString) -> Result<HeaderValue> {
    let wrong = |_| Error::runtime(format!("{}: a value may not have characters that end a line", name.written));
    HeaderValue::from_maybe_shared(Bytes::from(Vec::from(text))).map_err(wrong)
}

fn not_framing(name: &Name) -> Result<()> {
    if name.framing {
        let why = "it says where the message ends or what the connection is for, and that is not a script's to change";
        return Err(Error::runtime(format!("{}: {why}", name.written)));
    }
    Ok(())
}

/// A header of an answer of the script's own.
pub(super) fn header(written: String, text: BString) -> Result<(String, HeaderValue)> {
    let name = parsed(written)?;
    not_framing(&name)?;
    let value = value(&name, text)?;
    Ok((name.written, value))
}

fn map(message: &Message, side: u8) -> Result<&HeaderMap> {
    if side == REQUEST {
        message.facts()?;
        return Ok(&message.request.headers);
    }
    Ok(&message.response()?.headers)
}

fn insert(message: &mut Message, side: u8, name: &Name, value: HeaderValue) -> Result<()> {
    let written = name.written.clone();
    let done = match side {
        REQUEST => message.request_to_change()?.insert_header(written, value),
        _ => message.response_to_change()?.insert_header(written, value),
    };
    done.map_err(|e| Error::runtime(e.to_string()))
}

fn append(message: &mut Message, side: u8, name: &Name, value: HeaderValue) -> Result<()> {
    let written = name.written.clone();
    let done = match side {
        REQUEST => message.request_to_change()?.append_header(written, value),
        _ => message.response_to_change()?.append_header(written, value),
    };
    done.map(|_| ()).map_err(|e| Error::runtime(e.to_string()))
}

fn remove(message: &mut Message, side: u8, name: &Name) -> Result<()> {
    if side == REQUEST && name.name == HOST {
        return Err(Error::runtime("Host: without it there is no request: set another"));
    }
    match side {
        REQUEST => message.request_to_change()?.remove_header(&name.name),
        _ => message.response_to_change()?.remove_header(&name.name),
    };
    Ok(())
}
