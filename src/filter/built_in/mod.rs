//! The filters that every program has, one file each, written against the same trait as anybody's.

mod basic_auth;
mod body_limit;
mod buffer;
mod compress;
mod cors;
mod error_pages;
mod forward_auth;
mod headers;
mod identity;
mod ip;
mod jwt;
mod maintenance;
mod names;
mod quiet;
mod rate_limit;
mod request_id;

use std::sync::Arc;

use super::Filter;
use crate::config::{Mistake, Options};

/// What makes a filter of the options beside its name.
pub(crate) type Make = fn(&Options) -> Result<Arc<dyn Filter>, Mistake>;

/// All of them, by name.
pub(crate) const ALL: &[(&str, Make)] = &[
    ("basic_auth", |options| made(basic_auth::BasicAuth::new(options))),
    ("body_limit", |options| made(body_limit::BodyLimit::new(options))),
    ("buffer", |options| made(buffer::Buffer::new(options))),
    ("compress", |options| made(compress::Compress::new(options))),
    ("cors", |options| made(cors::Cors::new(options))),
    ("error_pages", |options| made(error_pages::ErrorPages::new(options))),
    ("forward_auth", |options| made(forward_auth::ForwardAuth::new(options))),
    ("ip_allow", |options| made(ip::IpAllow::new(options))),
    ("ip_deny", |options| made(ip::IpDeny::new(options))),
    ("jwt", |options| made(jwt::Jwt::new(options))),
    ("maintenance", |options| made(maintenance::Maintenance::new(options))),
    ("rate_limit", |options| made(rate_limit::RateLimit::new(options))),
    ("remove_headers", |options| made(headers::RemoveHeaders::new(options))),
    ("request_id", |options| made(request_id::OwnRequestId::new(options))),
    ("script", script),
    ("set_headers", |options| made(headers::SetHeaders::new(options))),
];

#[cfg(feature = "script")]
fn script(options: &Options) -> Result<Arc<dyn Filter>, Mistake> {
    made(super::script::Script::new(options))
}

#[cfg(not(feature = "script"))]
fn script(options: &Options) -> Result<Arc<dyn Filter>, Mistake> {
    Err(options.mistake("this program was built without scripts; build it with the cargo feature 'script'"))
}

/// What clients send to say who they are, and what stands in the files that it is compared with.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(data: &[u8]) {
    basic_auth::fuzz(data);
    jwt::fuzz(data);
}

fn made(filter: Result<impl Filter, Mistake>) -> Result<Arc<dyn Filter>, Mistake> {
    Ok(Arc::new(filter?))
}
