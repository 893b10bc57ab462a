//! Upgrades, around a race within pingora.
//!
//! Pingora tells its half towards the backend that a request without a body has ended. When that half is told only after it has
//! read a `101`, it takes this for the end of the tunnel, and cuts off a WebSocket that has just begun: on a loaded machine one
//! in a hundred. So pingora is given to understand that the request has a body, of one byte that does not come. With a `101`
//! pingora forgets that it waits for it. With any other answer the byte is made up, below pingora, and dropped again, above it.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use pingora::http::RequestHeader;
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::connection;

/// How far a request is on its way to become a tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Upgrade {
    /// It does not ask for that, or has become one.
    #[default]
    None,
    /// The backend has not answered yet, and pingora waits for the byte.
    Asked,
    /// The backend will not, and the byte is on its way.
    Refused,
}

impl Upgrade {
    /// The request is about to be sent: `upstream_request` is what the backend gets.
    pub(super) fn ask(&mut self, session: &mut Session, upstream_request: &mut RequestHeader) -> Result<()> {
        if *self == Upgrade::None {
            let headers = &session.req_header().headers;
            let has_body = headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
            if has_body || !session.is_upgrade_req() || !connection::is_known() {
                return Ok(());
            }
            *self = Upgrade::Asked;
            session.req_header_mut().insert_header(CONTENT_LENGTH, "1")?;
            // Or a refusal would cost the connection, for the byte that is to come.
            session.set_close_on_response_before_downstream_finish(false);
        }
        // Else pingora, which takes it for a request with a body, would announce one.
        upstream_request.insert_header(CONTENT_LENGTH, "0")?;
        Ok(())
    }

    /// The final answer has come: a tunnel, or a refusal.
    pub(super) fn answered(&mut self, session: &mut Session, tunnel: bool) {
        if *self != Upgrade::Asked {
            return;
        }
        // Pingora has read it, and nobody else is to.
        session.req_header_mut().remove_header(&CONTENT_LENGTH);
        if tunnel {
            *self = Upgrade::None;
        } else {
            *self = Upgrade::Refused;
            connection::end_body();
        }
    }

    /// Something has come from the client. The byte that was made up is taken away.
    ///
    /// # Errors
    /// That the client has sent something else, ahead of the answer.
    #[inline]
    pub(super) fn receive(self, body: &mut Option<Bytes>) -> Result<()> {
        match self {
            Upgrade::Asked if body.is_some() => {
                Error::e_explain(ErrorType::HTTPStatus(400), "bytes of a tunnel before there is one")
            }
            Upgrade::None | Upgrade::Asked => Ok(()),
            Upgrade::Refused => {
                *body = None;
                Ok(())
            }
        }
    }
}
