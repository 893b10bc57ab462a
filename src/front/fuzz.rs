//! What a client can send before pingora sees it, for whoever feeds it nonsense. However the bytes come, the verdict is the same.

use super::frames::Frames;
use super::http1::{Body, Bounds, Head};
use super::proxied;
use crate::reason::Reason;

const BOUNDS: Bounds = Bounds { size: 4096, fields: 50, target: 1024 };

/// A request's header, and the body that it announces.
pub(crate) fn header(data: &[u8]) {
    let Some((piece, bytes)) = pieces(data) else { return };
    let (whole, parts) = (scan(bytes, bytes.len().max(1)), scan(bytes, piece));
    // In pieces it may be too long before it turns out to be wrong in itself.
    assert!(whole == parts || whole.is_err() && parts.is_err(), "{whole:?} at once, {parts:?} by {piece}");
}

/// Where the header stands and where its body ends, as far as that has come.
fn scan(bytes: &[u8], piece: usize) -> Result<Option<(usize, usize, Option<usize>)>, Reason> {
    let (mut head, mut end) = (Head::default(), 0);
    while end < bytes.len() {
        end = (end + piece).min(bytes.len());
        let Some(found) = head.scan(bytes.get(..end).unwrap_or_default(), &BOUNDS)? else { continue };
        let (start, stop) = (found.place.start, found.place.end);
        let before = bytes.get(..start).unwrap_or_default();
        assert!(before.chunks(2).all(|two| two == b"\r\n"), "something before a header");
        let mut body = found.body;
        let passed = pass(&mut body, bytes.get(stop..).unwrap_or_default(), piece)?;
        return Ok(Some((start, stop, body.over().then_some(passed))));
    }
    Ok(None)
}

fn pass(body: &mut Body, bytes: &[u8], piece: usize) -> Result<usize, Reason> {
    let mut passed = 0;
    for piece in bytes.chunks(piece.max(1)) {
        let now = body.pass(piece)?;
        assert!(now <= piece.len() && (now == piece.len() || body.over()));
        passed += now;
    }
    Ok(passed)
}

/// A body in chunks.
pub(crate) fn chunks(data: &[u8]) {
    let Some((piece, bytes)) = pieces(data) else { return };
    let read = |piece| {
        let mut body = Body::Chunked(Default::default());
        pass(&mut body, bytes, piece).map(|passed| (passed, body.over()))
    };
    assert_eq!(read(bytes.len()), read(piece));
}

/// The header of the PROXY protocol.
pub(crate) fn proxy_header(data: &[u8]) {
    if let Ok(Some((client, length))) = proxied::parse(data) {
        assert!(length <= data.len());
        let again = proxied::parse(data.get(..length).unwrap_or_default());
        assert!(again.is_ok_and(|again| again == Some((client, length))), "what follows a header changes it");
    }
}

/// What a backend sends through a tunnel.
pub(crate) fn frames(data: &[u8]) {
    let Some((piece, bytes)) = pieces(data) else { return };
    let (mut whole, mut parts) = (Frames::new(), Frames::new());
    whole.pass(bytes);
    bytes.chunks(piece).for_each(|piece| parts.pass(piece));
    assert_eq!(whole.at_boundary(), parts.at_boundary());
    assert!(Frames::new().to_boundary(bytes) <= bytes.len());
}

/// The first byte says how large the pieces are in which the others come.
fn pieces(data: &[u8]) -> Option<(usize, &[u8])> {
    let (piece, bytes) = data.split_first()?;
    Some((usize::from(*piece).max(1), bytes))
}
