//! Where a WebSocket frame ends: between two frames another may be put.

/// How far the bytes that were written have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the header of the HTTP response, with so many bytes of the empty line that ends it.
    Response(u8),
    /// Between two frames.
    Boundary,
    /// The first byte has passed.
    Length,
    /// So many bytes of the length are to come; so far it is that; then so many bytes of a mask.
    Longer { left: u8, length: u64, mask: u64 },
    /// So many bytes are to come.
    Payload(u64),
}

/// Follows what a server sends: the header of its response, then frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frames(State);

impl Frames {
    /// Before the header of the response that begins the tunnel.
    pub(super) fn new() -> Self {
        Frames(State::Response(0))
    }

    /// Whether what comes next begins a frame.
    pub(super) fn at_boundary(self) -> bool {
        self.0 == State::Boundary
    }

    /// These bytes pass.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = self.step(rest);
        }
    }

    /// How many of these bytes belong to what has begun: all, or up to the first boundary.
    pub(super) fn to_boundary(mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() && !self.at_boundary() {
            rest = self.step(rest);
        }
        bytes.len() - rest.len()
    }

    /// Some of these bytes pass, at least one; the rest is returned.
    fn step<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some((&byte, rest)) = bytes.split_first() else { return bytes };
        self.0 = match self.0 {
            State::Response(seen) => response(seen, byte),
            State::Boundary => State::Length,
            State::Length => {
                let mask = if byte & 0x80 == 0 { 0 } else { 4 };
                match byte & 0x7f {
                    126 => State::Longer { left: 2, length: 0, mask },
                    127 => State::Longer { left: 8, length: 0, mask },
                    length => payload(u64::from(length) + mask),
                }
            }
            State::Longer { left, length, mask } => {
                let length = length << 8 | u64::from(byte);
                match left - 1 {
                    0 => payload(length.saturating_add(mask)),
                    left => State::Longer { left, length, mask },
                }
            }
            State::Payload(left) => {
                let now = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                self.0 = payload(left - now as u64);
                return bytes.get(now..).unwrap_or_default();
            }
        };
        rest
    }
}

fn response(seen: u8, byte: u8) -> State {
    match (seen, byte) {
        (0 | 2, b'\r') => State::Response(seen + 1),
        (1, b'\n') => State::Response(2),
        (3, b'\n') => State::Boundary,
        (_, b'\r') => State::Response(1),
        _ => State::Response(0),
    }
}

fn payload(left: u64) -> State {
    if left == 0 { State::Boundary } else { State::Payload(left) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

    /// A frame of a server with this many bytes of payload, of which some look like frames.
    fn frame(length: usize, masked: bool) -> Vec<u8> {
        let mut frame = vec![0x82];
        let mask = if masked { 0x80 } else { 0 };
        match length {
            0..126 => frame.push(mask | length as u8),
            126..65_536 => {
                frame.push(mask | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        if masked {
            frame.extend([1, 2, 3, 4]);
        }
        frame.extend((0..length).map(|i| if i % 2 == 0 { 0x82 } else { 0 }));
        frame
    }

    #[test]
    fn boundaries_are_where_frames_end_however_the_bytes_come() {
        let mut random = fastrand::Rng::with_seed(11);
        for round in 0..200 {
            let (mut bytes, mut ends) = (HEADER.to_vec(), vec![HEADER.len()]);
            for _ in 0..random.usize(0..8) {
                let length = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000][random.usize(0..8)];
                bytes.extend(frame(length, random.bool()));
                ends.push(bytes.len());
            }
            let (mut frames, mut at) = (Frames::new(), 0);
            while at < bytes.len() {
                let piece = random.usize(1..=2000).min(bytes.len() - at);
                let end = ends.iter().find(|end| **end >= at).unwrap();
                let expected = end.saturating_sub(at).min(piece);
                assert_eq!(frames.to_boundary(&bytes[at..at + piece]), expected, "round {round} at {at}");
                frames.pass(&bytes[at..at + piece]);
                at += piece;
                assert_eq!(frames.at_boundary(), ends.contains(&at), "round {round} at {at}");
            }
        }
    }

    #[test]
    fn a_length_beyond_everything_is_no_overflow() {
        let mut frames = Frames::new();
        frames.pass(HEADER);
        frames.pass(&[0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert!(!frames.at_boundary());
        assert_eq!(frames.to_boundary(&[0; 100]), 100);
    }
}
