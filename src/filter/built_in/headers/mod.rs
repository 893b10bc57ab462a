//! `set_headers` and `remove_headers`, of what backends are asked and of what clients are answered.

mod name;
mod template;

use async_trait::async_trait;
use http::HeaderName;
use http::header::HOST;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_core::Result;
use pingora_proxy::Session;
use serde::Deserialize;
use serde::de::DeserializeOwned;

pub(super) use self::name::checked;
use self::name::{Named, Names, Values};
use crate::config::{Mistake, Options};
use crate::filter::{Ctx, Filter};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings<T> {
    request: T,
    response: T,
}

/// `set_headers: { request: { X-Client: "{client_ip}" }, response: { X-Frame-Options: DENY } }`
pub(super) struct SetHeaders {
    request: Vec<Named>,
    response: Vec<Named>,
}

/// `remove_headers: { request: [X-Debug], response: [Server] }`
pub(super) struct RemoveHeaders {
    request: Vec<HeaderName>,
    response: Vec<HeaderName>,
}

impl SetHeaders {
    pub(super) fn new(options: &Options) -> std::result::Result<Self, Mistake> {
        let Settings { request: Values(request), response: Values(response) } = written(options)?;
        if request.is_empty() && response.is_empty() {
            return Err(options.mistake("needs headers of the request or of the response, like response: { X-A: b }"));
        }
        Ok(SetHeaders { request, response })
    }
}

impl RemoveHeaders {
    pub(super) fn new(options: &Options) -> std::result::Result<Self, Mistake> {
        let Settings { request: Names(request), response: Names(response) } = written(options)?;
        if request.is_empty() && response.is_empty() {
            return Err(options.mistake("needs headers of the request or of the response, like response: [Server]"));
        }
        if request.contains(&HOST) {
            return Err(options.mistake_at("request", "cannot remove Host, without which there is no request"));
        }
        Ok(RemoveHeaders { request, response })
    }
}

fn written<T: DeserializeOwned + Default>(options: &Options) -> std::result::Result<Settings<T>, Mistake> {
    options.parse()
}

#[async_trait]
impl Filter for SetHeaders {
    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        for one in &self.request {
            match one.value.fill(session, ctx) {
                Some(value) => request.insert_header(one.written.clone(), value)?,
                // Without it there is no request.
                None if one.name == HOST => {}
                None => drop(request.remove_header(&one.name)),
            }
        }
        Ok(())
    }

    async fn response_filter(&self, session: &mut Session, response: &mut ResponseHeader, ctx: &mut Ctx) -> Result<()> {
        for one in &self.response {
            match one.value.fill(session, ctx) {
                Some(value) => response.insert_header(one.written.clone(), value)?,
                None => drop(response.remove_header(&one.name)),
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Filter for RemoveHeaders {
    async fn upstream_request_filter(&self, _: &mut Session, request: &mut RequestHeader, _: &mut Ctx) -> Result<()> {
        self.request.iter().for_each(|name| drop(request.remove_header(name)));
        Ok(())
    }

    async fn response_filter(&self, _: &mut Session, response: &mut ResponseHeader, _: &mut Ctx) -> Result<()> {
        self.response.iter().for_each(|name| drop(response.remove_header(name)));
        Ok(())
    }
}
