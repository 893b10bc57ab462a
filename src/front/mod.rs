//! The client's side, below pingora: from a connection to requests.
//!
//! Pingora's hooks see requests. What comes before there is one is decided here: whether the connection may be at all, who is at
//! its other end, what it speaks; and what pingora gets to see of it. In the order in which that happens:
//!
//! | file | does |
//! |---|---|
//! | `door` | the way in, from the listener to one of the two below |
//! | `census` | counts connections, in all and of each client |
//! | `rules` | what the listener asks of its clients |
//! | `proxied` | the PROXY protocol: who the client is |
//! | `tls` | the handshake |
//! | `downstream`, over `http1`, `alarm`, `pace` | HTTP/1: one request at a time, checked before pingora parses it |
//! | `http2`, over `flood` | HTTP/2: what was read, and a limit on work for nothing |
//! | `streams` | its streams, and how long they may wait |
//! | `tunnel`, over `frames` | what a connection becomes with a WebSocket, and its end |
//! | `refusal` | the answer where no hook can give one |

mod alarm;
mod census;
mod delegate;
mod door;
mod downstream;
mod flood;
mod frames;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod http1;
mod http2;
mod pace;
mod proxied;
mod refusal;
mod rules;
mod streams;
mod tls;
mod tunnel;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora_proxy::HttpProxy;

use crate::access_log::Refused;
use crate::config::Limits;
use crate::proxy::{Generation, Proxy, Traffic};
use crate::reason::Reason;
use census::Census;
use downstream::Patience;
use http1::Bounds;

pub(crate) use door::Door;
pub(crate) use rules::Rules;
pub(crate) use tls::{Acceptor, SavedKeys, TicketKeys, examine, warnings};

/// The proxy behind its limits, the same for every listener.
pub(crate) struct Front {
    proxy: Arc<HttpProxy<Proxy>>,
    generation: Arc<ArcSwap<Generation>>,
    traffic: Arc<Traffic>,
    census: Arc<Census>,
    /// More clients than that cannot be connected, whatever the limits say.
    most: u64,
}

impl Front {
    pub(crate) fn new(
        proxy: HttpProxy<Proxy>,
        generation: Arc<ArcSwap<Generation>>,
        traffic: Arc<Traffic>,
        most: u64,
    ) -> Self {
        Front { proxy: Arc::new(proxy), generation, traffic, census: Arc::default(), most }
    }

    /// Count and log a refusal that no hook sees.
    fn note(&self, client: Option<IpAddr>, came: &[u8], reason: Reason, elapsed: Duration) {
        let generation = self.generation.load();
        generation.unrouted.request(reason.status(), elapsed.as_secs_f64());
        generation.unrouted.failure(reason);
        if let Some(log) = &generation.access_log {
            log.write_refused(&Refused { client, came, reason, elapsed });
        }
    }
}

/// What the limits allow a connection that speaks HTTP/1.
fn patience(limits: &Limits) -> Patience {
    let size = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
    Patience {
        idle: limits.idle_timeout,
        header: limits.header_timeout,
        bounds: Bounds {
            size: size(limits.max_header_size),
            fields: size(limits.max_headers),
            target: size(limits.max_uri_size),
        },
        body: limits.body_timeout,
        body_rate: limits.min_body_rate,
    }
}
