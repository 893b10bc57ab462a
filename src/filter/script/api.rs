//! The functions that `host` has beside those for headers; `prelude.luau` makes of them what scripts see.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::Uri;
use http::uri::PathAndQuery;
use log::{Level, log};
use memchr::memmem;
use mlua::{BString, Error, Lua, LuaString, Result, Table};

use super::headers;
use super::kept::Plain;
use super::message::{Facts, Message, Reply};
use super::vm::unlimited;

type Shared = Rc<RefCell<Message>>;

/// Give `host` the functions.
pub(super) fn add(lua: &Lua, host: &Table, message: &Shared, limit: usize, chunk: &str) -> Result<()> {
    headers::add(lua, host, message, limit)?;
    add_request(lua, host, message, limit)?;
    add_facts(lua, host, message)?;
    add_response(lua, host, message)?;
    add_kept(lua, host, message)?;
    let chunk = chunk.to_owned();
    let say = move |_: &Lua, (level, text): (String, String)| {
        let level = level.parse().unwrap_or(Level::Info);
        log!(level, "script {chunk}: {}", text.escape_debug());
        Ok(())
    };
    host.raw_set("log", lua.create_function(say)?)?;
    host.raw_set("find", lua.create_function(find)?)?;
    let now = |_: &Lua, ()| Ok(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
    host.raw_set("now", lua.create_function(now)?)
}

fn add_request(lua: &Lua, host: &Table, message: &Shared, limit: usize) -> Result<()> {
    let part = |part: fn(&Message) -> Option<&str>| {
        let shared = Rc::clone(message);
        lua.create_function(move |lua, ()| -> Result<Option<LuaString>> {
            let message = shared.borrow();
            message.facts()?;
            part(&message).map(|text| unlimited(lua, limit, |lua| lua.create_string(text))).transpose()
        })
    };
    host.raw_set("method", part(|message| Some(message.request.method.as_str()))?)?;
    host.raw_set("path", part(|message| Some(message.request.uri.path()))?)?;
    host.raw_set("query", part(|message| message.request.uri.query())?)?;
    let shared = Rc::clone(message);
    let set_path = move |_: &Lua, path: String| {
        let mut message = shared.borrow_mut();
        let request = message.request_to_change()?;
        let uri = moved(&request.uri, &path).ok_or_else(|| {
            Error::runtime(format!("{path:?} is not a path, with or without a query, that starts with '/'"))
        })?;
        request.set_uri(uri);
        Ok(())
    };
    host.raw_set("set_path", lua.create_function(set_path)?)
}

/// The same place, with another path; one without a query keeps the query.
fn moved(uri: &Uri, path: &str) -> Option<Uri> {
    let path = match uri.query() {
        Some(query) if !path.contains('?') => format!("{path}?{query}"),
        _ => path.to_owned(),
    };
    let valid = path.starts_with('/') && !path.contains('#');
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(valid.then(|| PathAndQuery::try_from(path).ok())??);
    Uri::from_parts(parts).ok()
}

fn add_facts(lua: &Lua, host: &Table, message: &Shared) -> Result<()> {
    let text = |fact: fn(&Facts) -> Option<String>| {
        let shared = Rc::clone(message);
        lua.create_function(move |_, ()| Ok(fact(shared.borrow().facts()?)))
    };
    host.raw_set("client", text(|facts| facts.client.map(|client| client.to_canonical().to_string()))?)?;
    host.raw_set("id", text(|facts| Some(facts.id.as_str().to_owned()))?)?;
    host.raw_set("pool", text(|facts| facts.pool.as_ref().map(|pool| pool.name().to_owned()))?)?;
    host.raw_set("backend", text(|facts| facts.backend.as_ref().map(|backend| backend.label().to_owned()))?)?;
    host.raw_set("failure", text(|facts| facts.reason.map(|reason| reason.as_str().to_owned()))?)?;
    let shared = Rc::clone(message);
    host.raw_set("attempt", lua.create_function(move |_, ()| Ok(shared.borrow().facts()?.attempt))?)?;
    let shared = Rc::clone(message);
    let elapsed = move |_: &Lua, ()| Ok(shared.borrow().facts()?.started.elapsed().as_secs_f64());
    host.raw_set("elapsed", lua.create_function(elapsed)?)
}

fn add_response(lua: &Lua, host: &Table, message: &Shared) -> Result<()> {
    let shared = Rc::clone(message);
    host.raw_set("status", lua.create_function(move |_, ()| Ok(shared.borrow().response()?.status.as_u16()))?)?;
    let shared = Rc::clone(message);
    let set_status = move |_: &Lua, status: u16| {
        let mut message = shared.borrow_mut();
        let response = message.response_to_change()?;
        final_status(status)?;
        response.set_status(status).map_err(|e| Error::runtime(e.to_string()))
    };
    host.raw_set("set_status", lua.create_function(set_status)?)?;
    let shared = Rc::clone(message);
    let respond = move |_: &Lua, (status, body): (u16, BString)| {
        let mut message = shared.borrow_mut();
        message.facts()?;
        if !message.rights.respond {
            return Err(Error::runtime("only request_filter may respond"));
        }
        final_status(status)?;
        message.reply = Some(Reply { status, headers: Vec::new(), body: Bytes::from(Vec::from(body)) });
        Ok(())
    };
    host.raw_set("respond", lua.create_function(respond)?)?;
    let shared = Rc::clone(message);
    let respond_header = move |_: &Lua, (name, value): (String, BString)| {
        let header = headers::header(name, value)?;
        shared.borrow_mut().reply.iter_mut().for_each(|reply| reply.headers.push(header.clone()));
        Ok(())
    };
    host.raw_set("respond_header", lua.create_function(respond_header)?)
}

fn final_status(status: u16) -> Result<()> {
    if (200..=599).contains(&status) {
        return Ok(());
    }
    Err(Error::runtime(format!("the status must be 200 to 599, got {status}")))
}

fn add_kept(lua: &Lua, host: &Table, message: &Shared) -> Result<()> {
    let shared = Rc::clone(message);
    let kept = move |_: &Lua, key: BString| {
        let message = shared.borrow();
        message.facts()?;
        Ok(message.kept.get(&key))
    };
    host.raw_set("kept", lua.create_function(kept)?)?;
    let shared = Rc::clone(message);
    let keep = move |_: &Lua, (key, value): (BString, Plain)| {
        let mut message = shared.borrow_mut();
        message.facts()?;
        message.kept.set(key, value)
    };
    host.raw_set("keep", lua.create_function(keep)?)
}

/// `string.find(text, pattern, init, true)`, in a time that grows with both and not with their product.
fn find(_: &Lua, (text, pattern, init): (BString, BString, Option<i64>)) -> Result<(Option<usize>, Option<usize>)> {
    let from = match init.unwrap_or(1) {
        0 => 0,
        init if init > 0 => usize::try_from(init - 1).unwrap_or(usize::MAX),
        init => text.len().saturating_sub(usize::try_from(init.unsigned_abs()).unwrap_or(usize::MAX)),
    };
    let found = text.get(from..).and_then(|rest| memmem::find(rest, &pattern));
    Ok((found.map(|at| from + at + 1), found.map(|at| from + at + pattern.len())))
}
