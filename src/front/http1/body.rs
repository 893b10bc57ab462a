//! What is to come of a request after its header.

use super::chunks::Chunks;
use crate::reason::Reason;

/// The body of a request, as far as it has not come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Body {
    /// So many bytes are to come.
    Length(u64),
    /// In chunks.
    Chunked(Chunks),
}

impl Body {
    /// Nothing is to come.
    pub(crate) const NONE: Body = Body::Length(0);

    /// Whether all of it has come.
    #[inline]
    pub(crate) fn over(&self) -> bool {
        match self {
            Body::Length(left) => *left == 0,
            Body::Chunked(chunks) => chunks.over(),
        }
    }

    /// How many of these bytes belong to it; what follows belongs to the next request.
    ///
    /// # Errors
    /// That it is not framed as it should be.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> Result<usize, Reason> {
        match self {
            Body::Length(left) => {
                let now = (*left).min(bytes.len() as u64);
                *left -= now;
                Ok(now as usize)
            }
            Body::Chunked(chunks) => chunks.pass(bytes),
        }
    }
}
