//! `script`: hooks written in Luau, in a file, without a compiler.
//!
//! A hook runs to its end within one call of [`Filter`], on the thread that serves the request, in a VM of that thread. It waits
//! for nothing, and is bounded in time and in memory, so that a script can fail requests but not the process.

mod api;
mod bound;
mod failure;
mod headers;
mod kept;
mod message;
mod options;
mod source;
mod threads;
mod vm;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use async_trait::async_trait;
use http::HeaderValue;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_core::{Error, Result};
use pingora_proxy::Session;

use super::{Answer, Ctx, FILTER_FAILED, Filter, Hook};
use crate::config::{Mistake, Options};
use failure::{Cause, Complaints};
use kept::AllKept;
use message::{Facts, Reply, Rights};
use options::OnError;
use source::Source;
use vm::Passing;

/// The functions that a script may define.
const HOOKS: [(&str, Hook); 6] = [
    ("early_request_filter", Hook::EarlyRequest),
    ("request_filter", Hook::Request),
    ("upstream_request_filter", Hook::UpstreamRequest),
    ("upstream_response_filter", Hook::UpstreamResponse),
    ("response_filter", Hook::Response),
    ("logging", Hook::Logging),
];

/// What a hook sees and may change.
const REQUEST: Rights = Rights { change_request: true, see_response: false, change_response: false, respond: false };
const ANSWERABLE: Rights = Rights { respond: true, ..REQUEST };
const RESPONSE: Rights = Rights { change_request: false, see_response: true, change_response: true, respond: false };
const OVER: Rights = Rights { change_response: false, ..RESPONSE };

/// Each filter keeps its own of a request.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// A script as a filter.
pub(super) struct Script {
    source: Arc<Source>,
    number: u64,
    on_error: OnError,
    complaints: Complaints,
}

impl Script {
    pub(super) fn new(options: &Options) -> std::result::Result<Self, Mistake> {
        let (source, on_error) = options::read(options)?;
        let number = NUMBER.fetch_add(1, Relaxed);
        Ok(Script { source: Arc::new(source), number, on_error, complaints: Complaints::default() })
    }

    /// Whether the script has this hook; if not, it is not asked again.
    #[inline]
    fn has(&self, hook: Hook, ctx: &mut Ctx) -> bool {
        let has = self.source.has(hook);
        if !has {
            ctx.not_implemented::<Self>(hook);
        }
        has
    }

    /// Call a hook.
    fn call(
        &self,
        hook: Hook,
        rights: Rights,
        request: &mut RequestHeader,
        response: Option<&mut ResponseHeader>,
        ctx: &mut Ctx,
    ) -> Result<Option<Reply>> {
        let called = threads::vm(&self.source).and_then(|vm| {
            let kept = ctx.extensions.get_mut::<AllKept>().map(|all| all.take(self.number)).unwrap_or_default();
            let passing = Passing { request, response, rights, facts: Facts::of(ctx), kept };
            let (kept, outcome) = vm.call(hook, passing, &self.source);
            if !kept.is_empty() {
                ctx.extensions.get_or_insert_default::<AllKept>().put(self.number, kept);
            }
            outcome
        });
        let failure = match called {
            Ok(reply) => return Ok(reply),
            Err(failure) => failure,
        };
        if failure.cause != Cause::Error {
            // What it left half done is nobody's; and a full memory would stay full.
            threads::forget(&self.source);
        }
        self.complaints.add(&self.source.chunk, &failure);
        match self.on_error {
            OnError::Continue => Ok(None),
            OnError::Refuse => Err(Error::explain(FILTER_FAILED, format!("script {}", failure.message))),
        }
    }
}

#[async_trait]
impl Filter for Script {
    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
        if self.has(Hook::EarlyRequest, ctx) {
            self.call(Hook::EarlyRequest, REQUEST, session.req_header_mut(), None, ctx)?;
        }
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        if !self.has(Hook::Request, ctx) {
            return Ok(false);
        }
        match self.call(Hook::Request, ANSWERABLE, session.req_header_mut(), None, ctx)? {
            Some(reply) => answer(reply)?.send(session, ctx).await,
            None => Ok(false),
        }
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        if self.has(Hook::UpstreamRequest, ctx) {
            self.call(Hook::UpstreamRequest, REQUEST, upstream_request, None, ctx)?;
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        upstream_response: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        if self.has(Hook::UpstreamResponse, ctx) {
            let request = session.req_header_mut();
            self.call(Hook::UpstreamResponse, RESPONSE, request, Some(upstream_response), ctx)?;
        }
        Ok(())
    }

    async fn response_filter(&self, session: &mut Session, response: &mut ResponseHeader, ctx: &mut Ctx) -> Result<()> {
        if self.has(Hook::Response, ctx) {
            self.call(Hook::Response, RESPONSE, session.req_header_mut(), Some(response), ctx)?;
        }
        Ok(())
    }

    async fn logging(&self, session: &mut Session, _error: Option<&Error>, ctx: &mut Ctx) {
        if !self.has(Hook::Logging, ctx) {
            return;
        }
        let mut written = session.response_written().cloned();
        let rights = Rights { see_response: written.is_some(), ..OVER };
        // There is nobody left to refuse.
        let _ = self.call(Hook::Logging, rights, session.req_header_mut(), written.as_mut(), ctx);
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.source.path.clone()]
    }
}

/// An answer as a script has it: a text, unless it says what else.
fn answer(reply: Reply) -> Result<Answer> {
    let mut answer = Answer::new(reply.status)?;
    if !reply.body.is_empty() {
        answer = answer.body(HeaderValue::from_static("text/plain; charset=utf-8"), reply.body);
    }
    for (name, value) in reply.headers {
        answer = answer.header(name, value)?;
    }
    Ok(answer)
}

#[cfg(test)]
mod tests;
