//! Why a request did not get its backend's answer: one bounded word, the same in the log, the metric and the header.

use std::fmt;

/// Why a request failed or was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// 400: the request is not one that HTTP/1.1 or HTTP/2 allows, or is ambiguous.
    BadRequest,
    /// 401: a filter wants to know who asks, or does not know who says so.
    Unauthorized,
    /// 403: a filter does not let this client in.
    Forbidden,
    /// 404: no route matches.
    NoRoute,
    /// 405: a method that is not forwarded.
    MethodNotAllowed,
    /// 408: the client paused too long within its request.
    ClientTimeout,
    /// 413: the body is larger than `limits.max_body_size`, or a `body_limit`.
    BodyTooLarge,
    /// 414: the target is longer than `limits.max_uri_size`.
    UriTooLong,
    /// 429: more requests than a `rate_limit` allows.
    RateLimited,
    /// 431: the header is larger than `limits.max_header_size`, or has more fields than `limits.max_headers`.
    HeaderTooLarge,
    /// 499: the client left before it had its answer.
    ClientGone,
    /// 500: a fault of ours or of a filter.
    Internal,
    /// 501: an upgrade, as to a WebSocket, in a pool of `protocol: h2`, which has none.
    NoUpgrade,
    /// 502: the backend could not be reached.
    ConnectFailed,
    /// 502: the backend closed or reset the connection.
    BackendClosed,
    /// 502: the backend answered with something that is not HTTP.
    BackendProtocol,
    /// 502: the backend answered with a status after which another was to be asked.
    BackendStatus,
    /// 503: no backend is admitted.
    NoBackend,
    /// 503: `max_in_flight` is reached, the pool's or each backend's, and there is no queue.
    PoolFull,
    /// 503: `max_in_flight` is reached, and as many wait as `queue.size` allows.
    QueueFull,
    /// 503: `max_connections` of the pool is reached.
    ConnectionLimit,
    /// 503: `concurrency` found that the pool takes no more without getting slow.
    Overloaded,
    /// 503: there was no room within `queue.timeout`.
    QueueTimeout,
    /// 503: whom a filter asks who may come in does not answer.
    AuthUnavailable,
    /// 503: the `maintenance` filter is on.
    Maintenance,
    /// 503: its backend was removed, and `timeouts.drain` has passed since.
    BackendRemoved,
    /// 503: as many clients are connected as `limits.max_connections` allows.
    TooManyConnections,
    /// 503: this client has as many connections as `limits.max_connections_per_ip` allows.
    TooManyConnectionsPerIp,
    /// 504: the backend could not be reached in time.
    ConnectTimeout,
    /// 504: the backend paused too long.
    BackendTimeout,
    /// 504: `timeouts.request` has passed.
    RequestTimeout,
    /// 505: a version of HTTP that is not spoken here.
    VersionNotSupported,
    /// Some status that a filter chose.
    Refused,
}

impl Reason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Reason; 33] = [
        Reason::BadRequest,
        Reason::Unauthorized,
        Reason::Forbidden,
        Reason::NoRoute,
        Reason::MethodNotAllowed,
        Reason::ClientTimeout,
        Reason::BodyTooLarge,
        Reason::UriTooLong,
        Reason::RateLimited,
        Reason::HeaderTooLarge,
        Reason::ClientGone,
        Reason::Internal,
        Reason::NoUpgrade,
        Reason::ConnectFailed,
        Reason::BackendClosed,
        Reason::BackendProtocol,
        Reason::BackendStatus,
        Reason::NoBackend,
        Reason::PoolFull,
        Reason::QueueFull,
        Reason::ConnectionLimit,
        Reason::Overloaded,
        Reason::QueueTimeout,
        Reason::AuthUnavailable,
        Reason::Maintenance,
        Reason::BackendRemoved,
        Reason::TooManyConnections,
        Reason::TooManyConnectionsPerIp,
        Reason::ConnectTimeout,
        Reason::BackendTimeout,
        Reason::RequestTimeout,
        Reason::VersionNotSupported,
        Reason::Refused,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::BadRequest => "bad_request",
            Reason::Unauthorized => "unauthorized",
            Reason::Forbidden => "forbidden",
            Reason::NoRoute => "no_route",
            Reason::MethodNotAllowed => "method_not_allowed",
            Reason::ClientTimeout => "client_timeout",
            Reason::BodyTooLarge => "body_too_large",
            Reason::UriTooLong => "uri_too_long",
            Reason::RateLimited => "rate_limited",
            Reason::HeaderTooLarge => "header_too_large",
            Reason::ClientGone => "client_gone",
            Reason::Internal => "internal",
            Reason::NoUpgrade => "no_upgrade",
            Reason::ConnectFailed => "connect_failed",
            Reason::BackendClosed => "backend_closed",
            Reason::BackendProtocol => "backend_protocol",
            Reason::BackendStatus => "backend_status",
            Reason::NoBackend => "no_backend",
            Reason::PoolFull => "pool_full",
            Reason::QueueFull => "queue_full",
            Reason::ConnectionLimit => "connection_limit",
            Reason::Overloaded => "overloaded",
            Reason::QueueTimeout => "queue_timeout",
            Reason::AuthUnavailable => "auth_unavailable",
            Reason::Maintenance => "maintenance",
            Reason::BackendRemoved => "backend_removed",
            Reason::TooManyConnections => "too_many_connections",
            Reason::TooManyConnectionsPerIp => "too_many_connections_per_ip",
            Reason::ConnectTimeout => "connect_timeout",
            Reason::BackendTimeout => "backend_timeout",
            Reason::RequestTimeout => "request_timeout",
            Reason::VersionNotSupported => "version_not_supported",
            Reason::Refused => "refused",
        }
    }

    /// The status that a client gets for it; 499 goes to the log alone.
    pub const fn status(self) -> u16 {
        match self {
            Reason::BadRequest => 400,
            Reason::Unauthorized => 401,
            Reason::Forbidden => 403,
            Reason::NoRoute => 404,
            Reason::MethodNotAllowed => 405,
            Reason::ClientTimeout => 408,
            Reason::BodyTooLarge => 413,
            Reason::UriTooLong => 414,
            Reason::RateLimited => 429,
            Reason::HeaderTooLarge => 431,
            Reason::ClientGone => 499,
            Reason::Internal | Reason::Refused => 500,
            Reason::NoUpgrade => 501,
            Reason::ConnectFailed | Reason::BackendClosed | Reason::BackendProtocol | Reason::BackendStatus => 502,
            Reason::NoBackend
            | Reason::PoolFull
            | Reason::QueueFull
            | Reason::ConnectionLimit
            | Reason::Overloaded
            | Reason::QueueTimeout
            | Reason::AuthUnavailable
            | Reason::Maintenance
            | Reason::BackendRemoved
            | Reason::TooManyConnections
            | Reason::TooManyConnectionsPerIp => 503,
            Reason::ConnectTimeout | Reason::BackendTimeout | Reason::RequestTimeout => 504,
            Reason::VersionNotSupported => 505,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
