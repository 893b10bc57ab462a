//! How long each step towards a backend may take: `timeouts` of a pool and of a route.

use std::time::Duration;

/// How long each step towards a backend may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To connect. Default 2 s: three lost SYNs on a local network are a dead host.
    pub connect: Duration,
    /// Between two reads of the response, the first included. Default 30 s.
    pub read: Duration,
    /// Between two writes of the request. Default 30 s.
    pub write: Duration,
    /// How long an unused connection is kept. Default 50 s: below the 60 s and 75 s after which common servers close.
    pub idle: Duration,
    /// From the end of the request's header to the response's, all attempts together. A body that still arrives, either
    /// way, is governed by the pauses in it instead. Default 60 s.
    pub request: Duration,
    /// How long an upgraded connection (a WebSocket) may stay silent. Default 1 h.
    pub tunnel: Duration,
    /// How long what is under way at a backend may go on that has been removed, by a reload or by its source. Default 10 min.
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(2),
            read: Duration::from_secs(30),
            write: Duration::from_secs(30),
            idle: Duration::from_secs(50),
            request: Duration::from_secs(60),
            tunnel: Duration::from_secs(3600),
            drain: Duration::from_secs(600),
        }
    }
}

impl Timeouts {
    /// These, but for what a route says otherwise.
    #[must_use]
    pub fn with(&self, route: &RouteTimeouts) -> Timeouts {
        Timeouts {
            read: route.read.unwrap_or(self.read),
            request: route.request.unwrap_or(self.request),
            tunnel: route.tunnel.unwrap_or(self.tunnel),
            ..self.clone()
        }
    }
}

/// What a route says of times in place of its pool: long polls take longer than other requests to the same backends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteTimeouts {
    /// In place of [`Timeouts::read`].
    pub read: Option<Duration>,
    /// In place of [`Timeouts::request`].
    pub request: Option<Duration>,
    /// In place of [`Timeouts::tunnel`].
    pub tunnel: Option<Duration>,
}
