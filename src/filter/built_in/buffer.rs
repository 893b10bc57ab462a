//! `buffer`: a request's body is read before a backend is chosen, so that no backend waits for a slow client.
//!
//! Pingora sends the body to a backend as it reads it, and remembers 64 KiB of it at most, for another attempt. So what is read
//! here ahead of that is held by this filter, and goes out in front of the rest: the last piece is left to pingora's memory,
//! which hands it to every attempt.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT};
use pingora_core::Result;
use pingora_proxy::Session;
use serde::Deserialize;

use crate::config::{Mistake, Options, Size};
use crate::filter::{Ctx, Filter, is_call};

/// What pingora reads at a time, and remembers.
const KEPT: u64 = 64 << 10;

/// What a form, a call of an API or a photo takes.
const SIZE: Size = Size(1 << 20);

/// As many bodies at once as do no harm.
const MEMORY: Size = Size(64 << 20);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    size: Size,
    memory: Size,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { size: SIZE, memory: MEMORY }
    }
}

/// Reads bodies ahead.
pub(super) struct Buffer {
    settings: Settings,
    /// The bytes of all bodies that are held.
    held: Arc<AtomicU64>,
}

/// A body that is held, and its share of the memory.
#[derive(Clone)]
struct Held {
    filter: Arc<AtomicU64>,
    front: Bytes,
    /// Let go with the last copy.
    _share: Arc<Share>,
}

struct Share {
    held: Arc<AtomicU64>,
    size: u64,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.held.fetch_sub(self.size, Relaxed);
    }
}

impl Buffer {
    pub(super) fn new(options: &Options) -> std::result::Result<Self, Mistake> {
        Ok(Buffer { settings: options.parse()?, held: Arc::default() })
    }

    /// The length of a body that is to be held: one that is known to end, and is not too long.
    fn length(&self, session: &Session) -> Option<u64> {
        if session.is_upgrade_req() || is_call(session.req_header()) {
            return None;
        }
        let length = session.req_header().headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()?;
        (1..=self.settings.size.0).contains(&length).then_some(length)
    }

    /// Room for so much, if there is any left.
    fn share(&self, size: u64) -> Option<Share> {
        let share = Share { held: Arc::clone(&self.held), size };
        (self.held.fetch_add(size, Relaxed) + size <= self.settings.memory.0).then_some(share)
    }
}

#[async_trait]
impl Filter for Buffer {
    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        let Some(length) = self.length(session) else { return Ok(false) };
        let Some(share) = self.share(length) else { return Ok(false) };
        tell_to_go_on(session).await?;
        let mut front = BytesMut::new();
        while front.len() as u64 + KEPT < length {
            match session.read_request_body().await.map_err(|e| e.into_down())? {
                Some(piece) => front.extend_from_slice(&piece),
                None => return Ok(false),
            }
        }
        session.enable_retry_buffering();
        while session.read_request_body().await.map_err(|e| e.into_down())?.is_some() {}
        let held = Held { filter: Arc::clone(&self.held), front: front.freeze(), _share: Arc::new(share) };
        ctx.extensions.insert(held);
        Ok(false)
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        // All that is left comes in one piece, once for each attempt.
        let held = ctx.extensions.get::<Held>().filter(|held| Arc::ptr_eq(&held.filter, &self.held));
        if let (Some(held), Some(last)) = (held, &body)
            && !held.front.is_empty()
        {
            let whole = Bytes::from([&held.front[..], last].concat());
            ctx.body_received = ctx.body_received.max(whole.len() as u64);
            *body = Some(whole);
        }
        Ok(())
    }
}

/// A client that asks whether to send its body is told so by us: a backend is asked when it is here.
async fn tell_to_go_on(session: &mut Session) -> Result<()> {
    let expected = session.req_header_mut().remove_header(&EXPECT);
    if expected.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        // Pingora takes it for an answer ahead of the body, after which it would close the connection.
        let keepalive = session.get_keepalive();
        session.as_downstream_mut().write_continue_response().await?;
        session.set_keepalive(keepalive);
    }
    Ok(())
}
