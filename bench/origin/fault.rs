//! What can be wrong with an origin, and the switch that makes it so.

use std::future::pending;
use std::str::FromStr;

use tokio::sync::watch;

/// What is wrong. All of it can be begun and ended while the origin runs, and its socket keeps listening.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    /// Every request takes this many times as long.
    Slow(f64),
    /// This share of the requests gets a 500, at once: who fails is quick about it, and looks idle.
    Errors(f64),
    /// A request resets its connection.
    Reset,
    /// Requests are taken and never answered.
    Hang,
    /// The header of an answer comes at once, its body a byte each second.
    Drip,
    /// So does the header.
    DripHeader,
    /// Connections end, and no new one comes about: the kernel drops what asks for it.
    SynDrop,
    /// The same, but those that are there stay and are silent, as if the machine were off the network.
    Blackhole,
}

impl Fault {
    /// Whether nobody can connect.
    pub(crate) fn is_deaf(self) -> bool {
        matches!(self, Self::SynDrop | Self::Blackhole)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text.split_once('=').unwrap_or((text, "")) {
            ("slow", times) => Self::Slow(number(times, 1.0..1e6, "slow=TIMES")?),
            ("errors", share) => Self::Errors(number(share, 0.0..1.000_001, "errors=SHARE, 0 to 1")?),
            ("reset", "") => Self::Reset,
            ("hang", "") => Self::Hang,
            ("drip", "") => Self::Drip,
            ("drip_header", "") => Self::DripHeader,
            ("syn_drop", "") => Self::SynDrop,
            ("blackhole", "") => Self::Blackhole,
            _ => {
                return Err(
                    "must be slow=TIMES, errors=SHARE, reset, hang, drip, drip_header, syn_drop or blackhole".into()
                );
            }
        })
    }
}

fn number(text: &str, range: std::ops::Range<f64>, wanted: &str) -> Result<f64, String> {
    text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| format!("must be {wanted}"))
}

/// The fault of a process, and whether it is there now.
pub(crate) struct Switch {
    fault: Option<Fault>,
    on: watch::Sender<bool>,
}

impl Switch {
    pub(crate) fn new(fault: Option<Fault>) -> Self {
        Self { fault, on: watch::Sender::new(false) }
    }

    pub(crate) fn set(&self, on: bool) {
        self.on.send_replace(on);
    }

    pub(crate) fn is_on(&self) -> bool {
        *self.on.borrow()
    }

    pub(crate) fn active(&self) -> Option<Fault> {
        self.fault.filter(|_| self.is_on())
    }

    pub(crate) async fn until(&self, on: bool) {
        // The sender is ours, and lives as long as this.
        let _ = self.on.subscribe().wait_for(|now| *now == on).await;
    }

    /// Ends when nobody can connect any more.
    pub(crate) async fn until_deaf(&self) {
        match self.fault {
            Some(fault) if fault.is_deaf() => self.until(true).await,
            _ => pending().await,
        }
    }

    /// Ends when the connections that are there must end.
    pub(crate) async fn until_cut(&self) {
        match self.fault {
            Some(Fault::SynDrop) => self.until(true).await,
            _ => pending().await,
        }
    }
}
