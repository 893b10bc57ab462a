//! How much of an HTTP/2 connection is work for nothing (CVE-2019-9512, -9515, -9518 and their like).

use std::time::{Duration, Instant};

use super::http2::PREFACE;

/// What a client has to spend. It fills up again by [`REFILL`] a second.
const MOST: u32 = 500_000;
const REFILL: u32 = 100_000;
/// What a frame costs that tells us to do something and carries nothing: ten thousand of them at once are allowed, and two
/// thousand a second.
const IDLE_WORK: u32 = 50;
/// What the word costs that there is room for more: a client that downloads says so all the time.
const ROOM: u32 = 1;

/// The length of a frame's header (RFC 9113, 4.1).
const FRAME_HEADER: u8 = 9;

#[derive(Clone, Copy, Debug)]
enum At {
    /// So many bytes of the preface are to come.
    Preface(usize),
    /// In a frame's header, of which so many bytes have come; its length and kind so far.
    Header { seen: u8, length: u32, kind: u8 },
    /// So many bytes of its payload are to come.
    Payload(u32),
}

impl At {
    const FRAME: At = At::Header { seen: 0, length: 0, kind: 0 };
}

/// Follows the frames of a client.
#[derive(Debug)]
pub(crate) struct Flood {
    at: At,
    begun: bool,
    left: u32,
    filled: Instant,
}

impl Flood {
    /// At the beginning of a connection.
    pub(crate) fn new() -> Self {
        Flood { at: At::Preface(PREFACE.len()), begun: false, left: MOST, filled: Instant::now() }
    }

    /// Whether the first frame has begun.
    pub(super) fn begun(&self) -> bool {
        self.begun
    }

    /// These bytes come: whether the client may go on.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        while let Some((byte, after)) = rest.split_first() {
            rest = match self.at {
                At::Preface(0) | At::Payload(0) => {
                    self.at = At::FRAME;
                    rest
                }
                At::Preface(left) => {
                    let now = left.min(rest.len());
                    self.at = At::Preface(left - now);
                    rest.get(now..).unwrap_or_default()
                }
                At::Payload(left) => {
                    let now = rest.len().min(left as usize);
                    self.at = At::Payload(left - now as u32);
                    rest.get(now..).unwrap_or_default()
                }
                At::Header { seen, length, kind } => {
                    self.at = match seen {
                        0..3 => At::Header { seen: seen + 1, length: length << 8 | u32::from(*byte), kind },
                        3 => At::Header { seen: seen + 1, length, kind: *byte },
                        _ if seen + 1 < FRAME_HEADER => At::Header { seen: seen + 1, length, kind },
                        _ if !self.spend(kind, length) => return false,
                        _ => At::Payload(length),
                    };
                    after
                }
            };
        }
        true
    }

    fn spend(&mut self, kind: u8, length: u32) -> bool {
        self.begun = true;
        let cost = match kind {
            // DATA and HEADERS are what a client is here for.
            0x0 if length > 0 => 0,
            0x1 => 0,
            0x8 => ROOM,
            _ => IDLE_WORK,
        };
        if self.left < cost {
            let elapsed = self.filled.elapsed();
            self.filled += elapsed;
            let more = elapsed.min(Duration::from_secs(5)).as_millis() as u32 * (REFILL / 1000);
            self.left = (self.left + more).min(MOST);
        }
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let mut frame = (length as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, 0, 0, 0, 0, 1]);
        frame.extend(std::iter::repeat_n(0, length));
        frame
    }

    /// How many of these frames a client may send at once.
    fn allowed(frame: &[u8], piece: usize) -> usize {
        let mut flood = Flood::new();
        assert!(flood.pass(PREFACE) && !flood.begun());
        let passes = |flood: &mut Flood| frame.chunks(piece).all(|piece| flood.pass(piece));
        (0..600_000).take_while(|_| passes(&mut flood)).count()
    }

    #[test]
    fn a_client_may_do_what_it_is_here_for_without_end_and_the_rest_for_a_while() {
        for piece in [1, 7, 100] {
            // A little more when the test is slow: the bucket fills up.
            assert!((10_000..20_000).contains(&allowed(&frame(0x6, 8), piece)), "PING");
            assert!((10_000..20_000).contains(&allowed(&frame(0x4, 0), piece)), "SETTINGS");
            assert!((10_000..20_000).contains(&allowed(&frame(0x0, 0), piece)), "empty DATA");
        }
        assert_eq!(allowed(&frame(0x0, 1), 100), 600_000, "DATA");
        assert_eq!(allowed(&frame(0x1, 5), 100), 600_000, "HEADERS");
        assert!(allowed(&frame(0x8, 4), 100) >= 500_000, "WINDOW_UPDATE");
    }

    #[test]
    fn what_was_spent_comes_back() {
        let mut flood = Flood::new();
        assert!(flood.pass(PREFACE));
        while flood.pass(&frame(0x6, 8)) {}
        flood.filled -= Duration::from_secs(1);
        flood.at = At::FRAME;
        assert_eq!((0..5_000).take_while(|_| flood.pass(&frame(0x6, 8))).count() / 100, 20);
    }
}
