//! HTTP/1 as bytes on a connection: where a request's header ends, what frames its body, and where that ends.
//!
//! Pingora's parser is lenient, and every leniency is a way to have two servers see two different requests in the same bytes. So
//! it gets to see only what has passed here, one request at a time: a request that could be read in two ways is refused, and
//! whatever follows a request is held back until pingora is done with it. Pure: bytes in, verdicts out (RFC 9112).

mod body;
mod bytes;
mod chunks;
mod field;
mod head;
mod line;

pub(super) use body::Body;
pub(super) use head::{Bounds, Head};
