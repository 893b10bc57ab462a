//! How much a client may ask for, and how long it may take.

use std::time::Duration;

/// Limits of the client's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a TLS handshake may take. Default [`Limits::HANDSHAKE_TIMEOUT`].
    pub handshake_timeout: Duration,
    /// How long a client may take over the header of a request, from its first byte to its last. Default
    /// [`Limits::HEADER_TIMEOUT`].
    pub header_timeout: Duration,
    /// How long a connection may stay silent before a request, the first or the next. Default [`Limits::IDLE_TIMEOUT`].
    pub idle_timeout: Duration,
    /// How long a request body may pause before the client gets a 408. Default [`Limits::BODY_TIMEOUT`].
    pub body_timeout: Duration,
    /// How long the client may refuse to take what we send. Default [`Limits::WRITE_TIMEOUT`].
    pub write_timeout: Duration,
    /// How many bytes a second a request body must come with, on average once it has been waited for as long as `body_timeout`, or
    /// the client gets a 408. What the backend does not take is not counted against the client. In HTTP/1 only. Default
    /// [`Limits::MIN_BODY_RATE`].
    pub min_body_rate: Option<u64>,
    /// The largest header of a request, in bytes, up to [`Limits::MOST_HEADER_SIZE`]; more is answered with 431. Default
    /// [`Limits::MAX_HEADER_SIZE`].
    pub max_header_size: u64,
    /// The most fields in a header, up to [`Limits::MOST_HEADERS`]; more is answered with 431. Default [`Limits::MAX_HEADERS`].
    pub max_headers: u64,
    /// The longest target of a request, in bytes; more is answered with 414. Default [`Limits::MAX_URI_SIZE`].
    pub max_uri_size: u64,
    /// The largest request body, in bytes; more is answered with 413. Default none: bodies are streamed, never held.
    pub max_body_size: Option<u64>,
    /// How many clients may be connected, over all listeners. Default [`Limits::MAX_CONNECTIONS`].
    pub max_connections: Option<u64>,
    /// How many connections a client may have, by its address; of IPv6, by its network of 64 bits. Peers of `trusted_proxies`
    /// have any number. Default any number.
    pub max_connections_per_ip: Option<u64>,
    /// How many requests a connection may serve. Default any number.
    pub max_requests_per_connection: Option<u64>,
    /// How many streams a client may have open at once on an HTTP/2 connection. Default [`Limits::MAX_STREAMS`].
    pub max_streams: u64,
}

impl Limits {
    /// Long for a bad line, short for a client that says nothing.
    pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
    /// Long for a person's connection, short for one that trickles.
    pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
    /// As nginx's `keepalive_timeout`.
    pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
    /// As nginx's `client_body_timeout`.
    pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);
    /// As nginx's `send_timeout`.
    pub const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
    /// In bytes a second: less than the slowest modem, and what Kestrel asks for.
    pub const MIN_BODY_RATE: u64 = 240;
    /// Room for large cookies and tokens.
    pub const MAX_HEADER_SIZE: u64 = 64 << 10;
    /// Pingora's own limit is 1 MiB.
    pub const MOST_HEADER_SIZE: u64 = 1 << 20;
    /// As Apache's `LimitRequestFields`.
    pub const MAX_HEADERS: u64 = 100;
    /// Pingora's own limit.
    pub const MOST_HEADERS: u64 = 256;
    /// As nginx's `large_client_header_buffers`.
    pub const MAX_URI_SIZE: u64 = 8 << 10;
    /// A quarter of a gigabyte of memory, if nobody sends anything.
    pub const MAX_CONNECTIONS: u64 = 50_000;
    /// As nginx's `http2_max_concurrent_streams`, nearly.
    pub const MAX_STREAMS: u64 = 100;
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            handshake_timeout: Self::HANDSHAKE_TIMEOUT,
            header_timeout: Self::HEADER_TIMEOUT,
            idle_timeout: Self::IDLE_TIMEOUT,
            body_timeout: Self::BODY_TIMEOUT,
            write_timeout: Self::WRITE_TIMEOUT,
            min_body_rate: Some(Self::MIN_BODY_RATE),
            max_header_size: Self::MAX_HEADER_SIZE,
            max_headers: Self::MAX_HEADERS,
            max_uri_size: Self::MAX_URI_SIZE,
            max_body_size: None,
            max_connections: Some(Self::MAX_CONNECTIONS),
            max_connections_per_ip: None,
            max_requests_per_connection: None,
            max_streams: Self::MAX_STREAMS,
        }
    }
}
