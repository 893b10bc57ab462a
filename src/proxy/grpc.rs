//! Calls of gRPC: how they have ended, and those of grpc-web.

use http::HeaderMap;
use pingora::http::RequestHeader;
use pingora_core::protocols::http::bridge::grpc_web::GrpcWebCtx;

use crate::backend::Failure;
use crate::filter::{INTERNAL, UNAVAILABLE, begins, kind};

const WEB_KIND: &[u8] = b"application/grpc-web";

/// The status that a call has ended with, if these headers or trailers say so.
pub(super) fn status(headers: &HeaderMap) -> Option<u8> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// The failure that a call's status is, if it is its backend's.
pub(super) fn failure(status: u8) -> Option<Failure> {
    match status {
        UNAVAILABLE => Some(Failure::Gateway),
        INTERNAL => Some(Failure::Status),
        _ => None,
    }
}

/// Make a grpc-web request, which `upstream_request` is about to pass on, one of gRPC. What comes back is to go through what
/// comes of this.
pub(super) fn from_web(upstream_request: &mut RequestHeader) -> GrpcWebCtx {
    if !kind(upstream_request).is_some_and(|kind| begins(kind, WEB_KIND)) {
        return GrpcWebCtx::Disabled;
    }
    let mut web = GrpcWebCtx::Init;
    web.request_header_filter(upstream_request);
    web
}
