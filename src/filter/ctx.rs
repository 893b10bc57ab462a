//! What is known of one request while it is under way; filters read it, and keep state of their own in it.

use std::any::TypeId;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Extensions;
use pingora::http::RequestHeader;
use pingora_core::protocols::l4::socket::SocketAddr;

use super::key::{self, Key};
use super::{Chain, Filter, Hook, RequestId};
use crate::backend::{BackendState, Lease};
use crate::config::{KeySource, Priority};
use crate::pool::Pool;
use crate::reason::Reason;
use crate::terms::ClientCertificate;

/// One request's context.
pub struct Ctx {
    /// When its header had come in.
    pub(crate) started: Instant,
    /// The client, as far as the trust rules can tell: of the connection, or of `X-Forwarded-For` behind a trusted proxy.
    pub(crate) client: Option<IpAddr>,
    /// Whether the peer is one of `trusted_proxies`, so that its `X-Forwarded-*` count.
    pub(crate) trusted: bool,
    /// What it has shown in its TLS handshake.
    pub(crate) client_certificate: Option<Arc<ClientCertificate>>,
    pub(crate) request_id: RequestId,
    /// How long its client gives it, if it says so.
    pub(crate) given: Option<Duration>,
    /// The pool that its route leads to.
    pub(crate) pool: Option<Arc<Pool>>,
    pub(crate) priority: Priority,
    /// The attempt under way.
    pub(crate) lease: Option<Lease>,
    pub(crate) attempt: Attempt,
    /// Attempts that failed, in order. Empty, and without an allocation, for nearly every request.
    pub(crate) failed: Vec<FailedAttempt>,
    /// Backends not to be tried again.
    pub(crate) tried: Vec<SocketAddr>,
    /// Whether a second backend was asked beside a slow first, and if so, whether its answer came first.
    pub(crate) hedged: Option<bool>,
    /// Why it did not get its backend's answer.
    pub(crate) reason: Option<Reason>,
    /// The status of what we answered; the client of a call is told 200, and one of gRPC.
    pub(crate) meant: Option<u16>,
    /// Whether it is a call of gRPC, and the status that it has ended with.
    pub(crate) grpc: bool,
    pub(crate) grpc_status: Option<u8>,
    /// Bytes of its body so far.
    pub(crate) body_received: u64,
    /// The filters that it passes, as far as they are known; `None` if there are none.
    pub(crate) chain: Option<Arc<Chain>>,
    /// The hook whose default method was reached last, and the filter's type.
    not_implemented: Option<(Hook, TypeId)>,
    /// Room for the state of filters, by type: what one hook inserts the next finds, and nobody who does not know the type. Where
    /// attempts run beside each other, each has a copy of what was there when it began.
    pub extensions: Extensions,
}

/// An attempt's times and bytes; times are `None` until they happen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attempt {
    /// 1 for a request's first; 0 before it.
    pub number: u8,
    /// When it began.
    pub started: Option<Instant>,
    /// How long it took to connect, 0 on a connection that was kept.
    pub connect: Option<Duration>,
    /// From its beginning to the response's header.
    pub first_byte: Option<Duration>,
    /// Whether its connection was kept from an earlier request.
    pub reused: bool,
    /// Bytes of the request's body that it was given.
    pub body: u64,
    /// Answers before the final one, like `103`.
    pub interim: u8,
}

/// An attempt that failed.
#[derive(Debug)]
pub struct FailedAttempt {
    /// On whom.
    pub backend: Arc<BackendState>,
    /// What went wrong.
    pub reason: Reason,
    /// How long it took.
    pub took: Duration,
    /// Whether the backend had closed a kept connection before it saw the request: nobody's fault.
    pub stale: bool,
}

impl Ctx {
    pub(crate) fn new() -> Self {
        Ctx {
            started: Instant::now(),
            client: None,
            trusted: false,
            client_certificate: None,
            request_id: RequestId::Own([b'0'; 32]),
            given: None,
            pool: None,
            priority: Priority::default(),
            lease: None,
            attempt: Attempt::default(),
            failed: Vec::new(),
            tried: Vec::new(),
            hedged: None,
            reason: None,
            meant: None,
            grpc: false,
            grpc_status: None,
            body_received: 0,
            chain: None,
            not_implemented: None,
            extensions: Extensions::new(),
        }
    }

    /// A context for an attempt that runs beside another, with what is known of the request.
    pub(crate) fn for_leg(&self) -> Self {
        Ctx {
            started: self.started,
            client: self.client,
            trusted: self.trusted,
            client_certificate: self.client_certificate.clone(),
            request_id: self.request_id.clone(),
            given: self.given,
            pool: self.pool.clone(),
            tried: self.tried.clone(),
            grpc: self.grpc,
            chain: self.chain.clone(),
            extensions: self.extensions.clone(),
            ..Ctx::new()
        }
    }

    /// A context for a copy of the request for this pool, whose time begins now.
    pub(crate) fn for_copy(&self, pool: Arc<Pool>) -> Self {
        Ctx {
            pool: Some(pool),
            client: self.client,
            trusted: self.trusted,
            client_certificate: self.client_certificate.clone(),
            request_id: self.request_id.clone(),
            grpc: self.grpc,
            extensions: self.extensions.clone(),
            ..Ctx::new()
        }
    }

    /// Its filters, if one of them may implement this hook.
    #[inline]
    pub(crate) fn filters(&self, hook: Hook) -> Option<Arc<Chain>> {
        self.chain.as_ref().filter(|chain| chain.has(hook)).map(Arc::clone)
    }

    /// It is refused, with this status.
    pub(crate) fn refuse(&mut self, reason: Reason, status: u16) {
        self.reason = Some(reason);
        self.meant = Some(status);
    }

    /// A default method of a filter was reached.
    #[inline]
    pub(super) fn not_implemented<F: Filter + ?Sized>(&mut self, hook: Hook) {
        self.not_implemented = Some((hook, TypeId::of::<F>()));
    }

    #[inline]
    pub(super) fn take_not_implemented(&mut self) -> Option<(Hook, TypeId)> {
        self.not_implemented.take()
    }

    /// The client's address, as far as `trusted_proxies` allow to tell; `None` on a Unix socket.
    pub fn client(&self) -> Option<IpAddr> {
        self.client
    }

    /// The first of these parts that the request has and that is not empty, as limits and hashing algorithms see it: of an
    /// address its 4 or 16 octets, of the header `host` what the request is for in either version of HTTP. A
    /// [`Parts`](crate::config::Parts) in a filter's options lets the configuration name them.
    pub fn part<'a>(&self, parts: &'a [KeySource], request: &'a RequestHeader) -> Option<Cow<'a, [u8]>> {
        match key::of(parts, request, self.client) {
            Key::None => None,
            Key::Part(part) => Some(part.into()),
            Key::V4(octets) => Some(octets.to_vec().into()),
            Key::V6(octets) => Some(octets.to_vec().into()),
        }
    }

    /// The certificate that the client has shown, which an authority of its listener's `client_ca` has signed.
    pub fn client_certificate(&self) -> Option<&ClientCertificate> {
        self.client_certificate.as_deref()
    }

    /// What the request is known by from end to end, the `X-Request-Id` header.
    pub fn request_id(&self) -> &RequestId {
        &self.request_id
    }

    /// Have it known by another id: to the backend, in the log, and to the filters after this one.
    pub fn set_request_id(&mut self, id: RequestId) {
        self.request_id = id;
    }

    /// Whether the peer is one of `trusted_proxies`, so that what it says of the client and of the request is believed.
    pub fn is_from_trusted_proxy(&self) -> bool {
        self.trusted
    }

    /// Bytes of its body that have come from the client so far, as it sent them; each once, however many attempts were given them.
    pub fn body_received(&self) -> u64 {
        self.body_received
    }

    /// The pool that its route leads to; `None` until the route is found, and where it answers by itself.
    pub fn pool(&self) -> Option<&Arc<Pool>> {
        self.pool.as_ref()
    }

    /// Who is sent away first when the pool has too much to do: its route's `priority`, unless a filter has changed it.
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// Make the request one of another priority. It counts where a filter does so in its `request_filter`: after that the request
    /// has been let in, or not.
    pub fn set_priority(&mut self, priority: Priority) {
        self.priority = priority;
    }

    /// The backend of the attempt under way; `None` before the first, and where none is asked.
    pub fn backend(&self) -> Option<&Arc<BackendState>> {
        self.lease.as_ref().map(Lease::backend)
    }

    /// The attempt under way.
    pub fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    /// The attempts before it.
    pub fn failed_attempts(&self) -> &[FailedAttempt] {
        &self.failed
    }

    /// Why it is going to be refused, or has failed; `None` as long as all is well.
    pub fn reason(&self) -> Option<Reason> {
        self.reason
    }

    /// How long ago its header had come in.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}
