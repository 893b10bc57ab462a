//! What a source says of a backend beside its address and its weight.

use std::sync::Arc;

/// What a source says of a backend beside its address and its weight. A [`ServiceDiscovery`] of your own puts it into the
/// `ext` of a `Backend`; without it the defaults hold.
///
/// [`ServiceDiscovery`]: pingora_load_balancing::discovery::ServiceDiscovery
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The name that it is known by, which its certificate is for; the address alone says none. Default none.
    pub name: Option<Arc<str>>,
    /// The zone that it stands in. Default none.
    pub zone: Option<Arc<str>>,
    /// Lower numbers are asked first, 0 to 255. Default 0.
    pub priority: u8,
    /// How many requests it may have in flight. Default any number; 0 counts as 1.
    pub max_in_flight: Option<u32>,
}
