//! What happens with TLS towards clients.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

/// How a handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    /// Well, from the beginning.
    Full,
    /// Well, with a session of before.
    Resumed,
    /// The client took too long.
    TimedOut,
    /// The client's certificate was missing, or not good.
    ClientCertificate,
    /// We and the client have no version, no cipher or no protocol in common.
    Incompatible,
    /// What the client sent is no TLS.
    Malformed,
    /// The client turned away: it does not trust the certificate, mostly.
    RefusedByClient,
    /// The client left.
    ClientGone,
    /// Something else.
    Failed,
}

impl Handshake {
    const ALL: [(Handshake, &'static str); 9] = [
        (Handshake::Full, "full"),
        (Handshake::Resumed, "resumed"),
        (Handshake::TimedOut, "timed_out"),
        (Handshake::ClientCertificate, "client_certificate"),
        (Handshake::Incompatible, "incompatible"),
        (Handshake::Malformed, "malformed"),
        (Handshake::RefusedByClient, "refused_by_client"),
        (Handshake::ClientGone, "client_gone"),
        (Handshake::Failed, "failed"),
    ];
}

/// The handles of one listener.
pub(crate) struct Handshakes([IntCounter; Handshake::ALL.len()]);

impl Handshakes {
    /// Count one.
    pub(crate) fn count(&self, outcome: Handshake) {
        self.0[outcome as usize].inc();
    }
}

/// The families of all listeners.
pub(crate) struct TlsMetrics {
    handshakes: IntCounterVec,
    expiry: IntGaugeVec,
    renewals: IntCounterVec,
    /// The certificates of each listener that have a series.
    shown: Mutex<HashMap<String, Vec<String>>>,
}

impl TlsMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = TlsMetrics {
            handshakes: IntCounterVec::new(
                Opts::new("evenkeel_tls_handshakes_total", "TLS handshakes with clients, by how they ended."),
                &["listener", "outcome"],
            )?,
            expiry: IntGaugeVec::new(
                Opts::new(
                    "evenkeel_certificate_expiry_timestamp_seconds",
                    "Until when the certificate that is served is good, in Unix time.",
                ),
                &["listener", "certificate"],
            )?,
            renewals: IntCounterVec::new(
                Opts::new(
                    "evenkeel_certificate_renewals_total",
                    "Changes of certificate files, by whether they could be taken up.",
                ),
                &["listener", "result"],
            )?,
            shown: Mutex::default(),
        };
        registry.register(Box::new(metrics.handshakes.clone()))?;
        registry.register(Box::new(metrics.expiry.clone()))?;
        registry.register(Box::new(metrics.renewals.clone()))?;
        Ok(metrics)
    }

    /// The handles of a listener.
    pub(crate) fn handshakes(&self, listener: &str) -> Handshakes {
        Handshakes(Handshake::ALL.map(|(_, word)| self.handshakes.with_label_values(&[listener, word])))
    }

    /// A listener serves these certificates, each until then.
    pub(crate) fn serves<'a>(&self, listener: &str, certificates: impl Iterator<Item = (&'a str, i64)>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let mut now = Vec::new();
        for (certificate, until) in certificates {
            self.expiry.with_label_values(&[listener, certificate]).set(until);
            now.push(certificate.to_owned());
        }
        for result in ["success", "failure"] {
            self.renewals.with_label_values(&[listener, result]);
        }
        let before = shown.insert(listener.to_owned(), now.clone()).unwrap_or_default();
        for gone in before.iter().filter(|certificate| !now.contains(certificate)) {
            let _ = self.expiry.remove_label_values(&[listener, gone]);
        }
    }

    /// The files of a listener have changed.
    pub(crate) fn renewed(&self, listener: &str, success: bool) {
        self.renewals.with_label_values(&[listener, if success { "success" } else { "failure" }]).inc();
    }

    /// Take a listener's series out that is no more, or speaks no TLS any more.
    pub(crate) fn forget(&self, listener: &str) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        // Errors say that there is none.
        for certificate in shown.remove(listener).unwrap_or_default() {
            let _ = self.expiry.remove_label_values(&[listener, &certificate]);
        }
        for (_, word) in Handshake::ALL {
            let _ = self.handshakes.remove_label_values(&[listener, word]);
        }
        for result in ["success", "failure"] {
            let _ = self.renewals.remove_label_values(&[listener, result]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_numbered_as_listed() {
        for (number, (outcome, _)) in Handshake::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, number);
        }
    }

    #[test]
    fn what_is_not_served_any_more_has_no_series() {
        let registry = Registry::new();
        let metrics = TlsMetrics::new(&registry).unwrap();
        let handshakes = metrics.handshakes("a:1");
        handshakes.count(Handshake::Resumed);
        let count = |family: &str| {
            let all = registry.gather();
            all.iter().find(|it| it.name() == family).map_or(0, |family| family.get_metric().len())
        };
        metrics.serves("a:1", [("one.pem", 1), ("two.pem", 2)].into_iter());
        assert_eq!(count("evenkeel_certificate_expiry_timestamp_seconds"), 2);
        metrics.serves("a:1", [("two.pem", 3)].into_iter());
        assert_eq!(count("evenkeel_certificate_expiry_timestamp_seconds"), 1);
        metrics.forget("a:1");
        for family in ["evenkeel_certificate_expiry_timestamp_seconds", "evenkeel_tls_handshakes_total"] {
            assert_eq!(count(family), 0);
        }
    }
}
