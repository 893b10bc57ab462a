//! Labels that have a few values.

/// Why a request has no second attempt although it would be safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryDenied {
    /// `retry.budget` is spent.
    Budget,
    /// `retry.max_in_flight` second attempts are under way.
    MaxInFlight,
}

impl RetryDenied {
    pub(super) const ALL: [RetryDenied; 2] = [RetryDenied::Budget, RetryDenied::MaxInFlight];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            RetryDenied::Budget => "budget",
            RetryDenied::MaxInFlight => "max_in_flight",
        }
    }
}

/// How a hedge ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hedged {
    /// The second answer came first.
    Won,
    /// The first answer came first after all.
    Lost,
}

impl Hedged {
    pub(super) const ALL: [Hedged; 2] = [Hedged::Won, Hedged::Lost];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Hedged::Won => "won",
            Hedged::Lost => "lost",
        }
    }
}
