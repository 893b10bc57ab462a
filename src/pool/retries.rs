//! Who may have a second attempt: the budget, and how many may be under way at once.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::budget::Budget;
use crate::backend::{clock_millis, clock_millis_at};
use crate::config::Retry;
use crate::metrics::RetryDenied;

/// What a pool allows of second attempts.
#[derive(Debug)]
pub(super) struct Retries {
    budget: Option<Budget>,
    limit: u32,
    in_flight: Arc<AtomicU32>,
}

/// The right to a second attempt; it ends with the attempt.
#[derive(Debug)]
pub struct Permit(Arc<AtomicU32>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Retries {
    pub(super) fn new(retry: &Retry) -> Self {
        Retries {
            budget: retry.budget.map(Budget::new),
            limit: retry.max_in_flight.unwrap_or(u32::MAX),
            in_flight: Arc::default(),
        }
    }

    /// Count a request, of which second attempts may be a share.
    #[inline]
    pub(super) fn earn(&self, started: Instant) {
        if let Some(budget) = &self.budget {
            budget.earn(clock_millis_at(started));
        }
    }

    /// Ask for a second attempt. `free` is for those after which no backend has seen the request: what no backend sees is
    /// no load on any.
    pub(super) fn permit(&self, free: bool) -> Result<Permit, RetryDenied> {
        let begun = self.in_flight.fetch_update(Relaxed, Relaxed, |n| (n < self.limit).then_some(n + 1));
        if begun.is_err() {
            return Err(RetryDenied::MaxInFlight);
        }
        let permit = Permit(Arc::clone(&self.in_flight));
        self.spend(free).map(|()| permit)
    }

    /// The budget's part of it.
    pub(super) fn spend(&self, free: bool) -> Result<(), RetryDenied> {
        match &self.budget {
            Some(budget) if !free && !budget.spend(clock_millis()) => Err(RetryDenied::Budget),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_ends_with_its_attempt() {
        let retries = Retries::new(&Retry { max_in_flight: Some(2), ..Retry::default() });
        let held = [(); 2].map(|()| retries.permit(false).unwrap());
        assert_eq!(retries.permit(true).unwrap_err(), RetryDenied::MaxInFlight);
        drop(held);
        assert!(retries.permit(false).is_ok());
    }

    #[test]
    fn what_no_backend_has_seen_is_free() {
        let retries = Retries::new(&Retry::default());
        let made = (0..10).filter(|_| retries.permit(false).is_ok()).count();
        assert_eq!(made, 3, "without a request there is what each second brings");
        assert_eq!(retries.permit(false).unwrap_err(), RetryDenied::Budget);
        assert!(retries.permit(true).is_ok());
        assert_eq!(retries.in_flight.load(Relaxed), 0);
    }
}
