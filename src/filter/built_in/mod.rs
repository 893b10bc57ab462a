//! The filters that every program has, one file each, written against the same trait as anybody's.

mod body_limit;
mod buffer;
mod compress;
mod error_pages;
mod headers;
mod ip;
mod maintenance;
mod rate_limit;
mod request_id;

use std::sync::Arc;

use super::Filter;
use crate::config::{Mistake, Options};

/// What makes a filter of the options beside its name.
pub(crate) type Make = fn(&Options) -> Result<Arc<dyn Filter>, Mistake>;

/// One of them.
pub(crate) struct BuiltIn {
    /// Its name in the configuration.
    pub(crate) name: &'static str,
    /// What makes it.
    pub(crate) make: Make,
    /// What may stand beside the name, in the form of `config/schema`.
    pub(crate) keys: &'static str,
}

macro_rules! built_in {
    ($name:literal, $make:expr) => {
        BuiltIn { name: $name, make: $make, keys: include_str!(concat!("keys/", $name, ".yaml")) }
    };
}

/// All of them, in the order of their names.
pub(crate) const ALL: &[BuiltIn] = &[
    built_in!("body_limit", |options| made(body_limit::BodyLimit::new(options))),
    built_in!("buffer", |options| made(buffer::Buffer::new(options))),
    built_in!("compress", |options| made(compress::Compress::new(options))),
    built_in!("error_pages", |options| made(error_pages::ErrorPages::new(options))),
    built_in!("ip_allow", |options| made(ip::IpAllow::new(options))),
    built_in!("ip_deny", |options| made(ip::IpDeny::new(options))),
    built_in!("maintenance", |options| made(maintenance::Maintenance::new(options))),
    built_in!("rate_limit", |options| made(rate_limit::RateLimit::new(options))),
    built_in!("remove_headers", |options| made(headers::RemoveHeaders::new(options))),
    built_in!("request_id", |options| made(request_id::OwnRequestId::new(options))),
    built_in!("script", script),
    built_in!("set_headers", |options| made(headers::SetHeaders::new(options))),
];

#[cfg(feature = "script")]
fn script(options: &Options) -> Result<Arc<dyn Filter>, Mistake> {
    made(super::script::Script::new(options))
}

#[cfg(not(feature = "script"))]
fn script(options: &Options) -> Result<Arc<dyn Filter>, Mistake> {
    Err(options.mistake("this program was built without scripts; build it with the cargo feature 'script'"))
}

fn made(filter: Result<impl Filter, Mistake>) -> Result<Arc<dyn Filter>, Mistake> {
    Ok(Arc::new(filter?))
}
