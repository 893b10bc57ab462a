//! The filters that every program has, one file each, written against the same trait as anybody's.

mod body_limit;
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

/// All of them, by name.
pub(crate) const ALL: &[(&str, Make)] = &[
    ("body_limit", |options| made(body_limit::BodyLimit::new(options))),
    ("ip_allow", |options| made(ip::IpAllow::new(options))),
    ("ip_deny", |options| made(ip::IpDeny::new(options))),
    ("maintenance", |options| made(maintenance::Maintenance::new(options))),
    ("rate_limit", |options| made(rate_limit::RateLimit::new(options))),
    ("remove_headers", |options| made(headers::RemoveHeaders::new(options))),
    ("request_id", |options| made(request_id::OwnRequestId::new(options))),
    ("set_headers", |options| made(headers::SetHeaders::new(options))),
];

fn made(filter: Result<impl Filter, Mistake>) -> Result<Arc<dyn Filter>, Mistake> {
    Ok(Arc::new(filter?))
}
