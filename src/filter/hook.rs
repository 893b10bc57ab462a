//! The hooks of a filter, by number.

/// A hook of [`Filter`](super::Filter).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Hook {
    EarlyRequest,
    Request,
    RequestBody,
    Pick,
    UpstreamRequest,
    UpstreamResponse,
    Response,
    ResponseBody,
    ResponseTrailer,
    Logging,
}

impl Hook {
    /// How many there are.
    pub(crate) const COUNT: usize = Hook::Logging as usize + 1;
}
