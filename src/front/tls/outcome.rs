//! Why a handshake failed, in one of a few words.

use std::io;

use rustls::Error;

use crate::metrics::Handshake;

pub(super) fn of(error: &io::Error) -> Handshake {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Handshake::ClientGone,
            _ => Handshake::Failed,
        };
    };
    match error {
        Error::NoCertificatesPresented | Error::InvalidCertificate(_) => Handshake::ClientCertificate,
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Handshake::Incompatible,
        Error::AlertReceived(_) => Handshake::RefusedByClient,
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_)
        | Error::PeerSentOversizedRecord
        | Error::DecryptError => Handshake::Malformed,
        _ => Handshake::Failed,
    }
}
