//! What a hook of a script sees and changes. The headers of a request are lent to the VM for the call, by swapping them with
//! ones that are empty: so nothing is copied, and nothing that the script has kept hold of shows another request.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::HeaderValue;
use mlua::{Error, Result};
use pingora::http::{RequestHeader, ResponseHeader};

use super::kept::Kept;
use crate::backend::BackendState;
use crate::filter::{Ctx, RequestId};
use crate::pool::Pool;
use crate::reason::Reason;

/// What a hook may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rights {
    pub(super) change_request: bool,
    pub(super) see_response: bool,
    pub(super) change_response: bool,
    pub(super) respond: bool,
}

/// An answer of a script.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, HeaderValue)>,
    pub(super) body: Bytes,
}

/// What is known of a request beside its header.
pub(super) struct Facts {
    pub(super) client: Option<IpAddr>,
    pub(super) id: RequestId,
    pub(super) pool: Option<Arc<Pool>>,
    pub(super) backend: Option<Arc<BackendState>>,
    pub(super) attempt: u8,
    pub(super) started: Instant,
    pub(super) reason: Option<Reason>,
}

impl Facts {
    pub(super) fn of(ctx: &Ctx) -> Self {
        Facts {
            client: ctx.client(),
            id: ctx.request_id().clone(),
            pool: ctx.pool().cloned(),
            backend: ctx.backend().cloned(),
            attempt: ctx.attempt().number,
            started: ctx.started,
            reason: ctx.reason(),
        }
    }
}

/// What is lent to a VM for a call.
pub(super) struct Message {
    pub(super) request: RequestHeader,
    pub(super) response: ResponseHeader,
    pub(super) rights: Rights,
    /// `None` between calls.
    facts: Option<Facts>,
    pub(super) kept: Kept,
    pub(super) reply: Option<Reply>,
}

impl Message {
    /// One of no request.
    ///
    /// # Errors
    /// None: what it is built of is well-formed.
    pub(super) fn empty() -> pingora_core::Result<Self> {
        Ok(Message {
            request: RequestHeader::build("GET", b"/", None)?,
            response: ResponseHeader::build(200, None)?,
            rights: Rights::default(),
            facts: None,
            kept: Kept::default(),
            reply: None,
        })
    }

    pub(super) fn begin(&mut self, rights: Rights, facts: Facts, kept: Kept) {
        (self.rights, self.facts, self.kept, self.reply) = (rights, Some(facts), kept, None);
    }

    /// What the script has left, when the call has ended.
    pub(super) fn end(&mut self) -> (Kept, Option<Reply>) {
        (self.rights, self.facts) = (Rights::default(), None);
        (std::mem::take(&mut self.kept), self.reply.take())
    }

    pub(super) fn facts(&self) -> Result<&Facts> {
        self.facts.as_ref().ok_or_else(|| Error::runtime("there is no request while the file is loaded"))
    }

    pub(super) fn request_to_change(&mut self) -> Result<&mut RequestHeader> {
        self.facts()?;
        if !self.rights.change_request {
            return Err(Error::runtime("the request has been sent: it cannot be changed in this hook"));
        }
        Ok(&mut self.request)
    }

    pub(super) fn response(&self) -> Result<&ResponseHeader> {
        self.facts()?;
        if !self.rights.see_response {
            return Err(Error::runtime("there is no response yet in this hook"));
        }
        Ok(&self.response)
    }

    pub(super) fn response_to_change(&mut self) -> Result<&mut ResponseHeader> {
        self.response()?;
        if !self.rights.change_response {
            return Err(Error::runtime("the response has been sent: it cannot be changed in this hook"));
        }
        Ok(&mut self.response)
    }
}
