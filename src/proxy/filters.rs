//! The way of a request through its filters: those of the whole and of the listener first, those of its route when that is found.

use std::sync::Arc;

use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::exchange::Exchange;
use super::generation::Route;
use crate::filter::{Choice, Hook};
use crate::reason::Reason;
use crate::terms::Terms;

impl Exchange {
    /// Begin it, with the filters that need not know the route.
    pub(super) async fn enter_filters(&mut self, session: &mut Session) -> Result<()> {
        if !self.generation.listeners.is_empty() {
            self.listener = Terms::listener(|name| self.generation.listener(name)).unwrap_or(0);
        }
        self.ctx.chain = self.generation.outer.of(self.listener).map(Arc::clone);
        match self.ctx.filters(Hook::EarlyRequest) {
            Some(chain) => chain.early_request_filter(0, session, &mut self.ctx).await,
            None => Ok(()),
        }
    }

    /// Pass those that come before the route is known. `true` if the client has its answer.
    pub(super) async fn pass_outer_filters(&mut self, session: &mut Session) -> Result<bool> {
        match self.ctx.filters(Hook::Request) {
            Some(chain) => chain.request_filter(0, session, &mut self.ctx).await,
            None => Ok(false),
        }
    }

    /// Pass the rest, those of the route. `true` if the client has its answer.
    pub(super) async fn pass_filters(&mut self, session: &mut Session, route: &Route) -> Result<bool> {
        let Some(chain) = route.chains.of(self.listener) else { return Ok(false) };
        let passed = self.ctx.chain.as_ref().map_or(0, |outer| outer.len());
        if passed == chain.len() {
            return Ok(false);
        }
        self.ctx.chain = Some(Arc::clone(chain));
        if self.ctx.filters(Hook::EarlyRequest).is_some() {
            chain.early_request_filter(passed, session, &mut self.ctx).await?;
        }
        match self.ctx.filters(Hook::Request) {
            Some(chain) => chain.request_filter(passed, session, &mut self.ctx).await,
            None => Ok(false),
        }
    }

    /// A filter has failed, on which side of us soever that looks.
    pub(super) fn fault_of_filter(&mut self, error: Box<Error>) -> Box<Error> {
        if !matches!(error.etype, ErrorType::HTTPStatus(_)) {
            self.ctx.reason.get_or_insert(Reason::Internal);
        }
        error
    }

    /// What the filters say of the choice of a backend; nothing, for nearly every request.
    pub(super) fn choose(&mut self, session: &Session) -> Choice {
        let mut choice = Choice::default();
        if let Some(chain) = self.ctx.filters(Hook::Pick) {
            chain.pick(session, &mut choice, &mut self.ctx);
        }
        choice
    }
}
