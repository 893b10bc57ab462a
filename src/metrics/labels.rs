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

/// What became of a copy of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mirrored {
    /// A backend has answered it, whatever it said.
    Answered,
    /// No backend's answer came, or not in time.
    Failed,
    /// None was made: as many were under way as may be.
    Dropped,
    /// None was made: no backend was admitted, or had room.
    NoBackend,
    /// None was made: the body was too large.
    TooLarge,
    /// None was made: the body did not come to its end.
    Incomplete,
}

impl Mirrored {
    pub(super) const ALL: [Mirrored; 6] = [
        Mirrored::Answered,
        Mirrored::Failed,
        Mirrored::Dropped,
        Mirrored::NoBackend,
        Mirrored::TooLarge,
        Mirrored::Incomplete,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Mirrored::Answered => "answered",
            Mirrored::Failed => "failed",
            Mirrored::Dropped => "dropped",
            Mirrored::NoBackend => "no_backend",
            Mirrored::TooLarge => "too_large",
            Mirrored::Incomplete => "incomplete",
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
