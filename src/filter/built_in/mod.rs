//! The filters that every program has, one file each, written against the same trait as anybody's.

mod basic_auth;
mod cors;
mod forward_auth;
mod identity;
mod ip;
mod jwt;
mod names;
mod quiet;

use std::sync::Arc;

use super::Filter;
use crate::config::{Mistake, Options};

/// What makes a filter of the options beside its name.
pub(crate) type Make = fn(&Options) -> Result<Arc<dyn Filter>, Mistake>;

/// All of them, by name.
pub(crate) const ALL: &[(&str, Make)] = &[
    ("basic_auth", |options| made(basic_auth::BasicAuth::new(options))),
    ("cors", |options| made(cors::Cors::new(options))),
    ("forward_auth", |options| made(forward_auth::ForwardAuth::new(options))),
    ("ip_allow", |options| made(ip::IpAllow::new(options))),
    ("ip_deny", |options| made(ip::IpDeny::new(options))),
    ("jwt", |options| made(jwt::Jwt::new(options))),
];

fn made(filter: Result<impl Filter, Mistake>) -> Result<Arc<dyn Filter>, Mistake> {
    Ok(Arc::new(filter?))
}
