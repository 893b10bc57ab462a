//! `ip_allow` and `ip_deny`: who may come in, by address.

use async_trait::async_trait;
use ipnet::IpNet;
use pingora_core::Result;
use pingora_proxy::Session;

use crate::config::{Mistake, Networks, Options};
use crate::filter::{Answer, Ctx, Filter};
use crate::reason::Reason;

/// `ip_allow: [10.0.0.0/8]` lets in nobody but these; who has no address, on a Unix socket, is not one of them.
pub(super) struct IpAllow(Vec<IpNet>);

/// `ip_deny: [10.6.6.6]` lets in everybody but these.
pub(super) struct IpDeny(Vec<IpNet>);

impl IpAllow {
    pub(super) fn new(options: &Options) -> std::result::Result<Self, Mistake> {
        networks(options).map(IpAllow)
    }
}

impl IpDeny {
    pub(super) fn new(options: &Options) -> std::result::Result<Self, Mistake> {
        networks(options).map(IpDeny)
    }
}

fn networks(options: &Options) -> std::result::Result<Vec<IpNet>, Mistake> {
    let Networks(networks) = options.parse()?;
    if networks.is_empty() {
        return Err(options.mistake("needs at least one address or range, like [10.0.0.0/8]"));
    }
    Ok(networks)
}

#[async_trait]
impl Filter for IpAllow {
    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        if is_one_of(&self.0, ctx) { Ok(false) } else { refuse(session, ctx).await }
    }
}

#[async_trait]
impl Filter for IpDeny {
    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        if is_one_of(&self.0, ctx) { refuse(session, ctx).await } else { Ok(false) }
    }
}

async fn refuse(session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
    Answer::refusal(Reason::Forbidden)?.send(session, ctx).await
}

/// An IPv4 address in the form of IPv6, as on a socket for both, is the IPv4 address.
pub(super) fn is_one_of(networks: &[IpNet], ctx: &Ctx) -> bool {
    let client = ctx.client().map(|client| client.to_canonical());
    client.is_some_and(|client| networks.iter().any(|network| network.contains(&client)))
}
