//! What the header of a backend's answer says of the backend.

use pingora::http::ResponseHeader;
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::exchange::Exchange;
use super::grpc;
use crate::backend::{Failure, Outcome};

impl Exchange {
    /// Let the lease know how the backend did.
    ///
    /// # Errors
    /// That another attempt follows, in the form in which pingora asks for the next.
    pub(super) fn judge(&mut self, session: &mut Session, response: &ResponseHeader) -> Result<()> {
        let attempt = &mut self.ctx.attempt;
        attempt.first_byte = attempt.started.map(|at| at.elapsed());
        // A call that has ended at once says so in the header.
        let call = if self.ctx.grpc { grpc::status(&response.headers) } else { None };
        self.ctx.grpc_status = call;
        let failure = Failure::of_status(response.status.as_u16()).or_else(|| grpc::failure(call?));
        let outcome = failure.map_or(Outcome::Succeeded, Outcome::Failed);
        if self.end_refused_attempt(session, response, outcome) {
            self.again = true;
            return Err(Error::explain(ErrorType::Custom("AnotherAttempt"), "a status of retry.on").into_up());
        }
        if let Some(lease) = &mut self.ctx.lease {
            lease.report(outcome, self.ctx.attempt.first_byte.unwrap_or_default());
        }
        Ok(())
    }
}
