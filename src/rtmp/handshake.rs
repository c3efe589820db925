//! The handshake, plain (RTMP 1.0 section 5.2) and with digests (HMAC-SHA256, both layouts), for both ends. Sans-IO:
//! bytes in, bytes out. Used by `protocol` (server) and `client`. It proves nothing about the peer: the keys are public,
//! and digests only tell each end that the other speaks the newer dialect.

use bytes::{Buf, BufMut, BytesMut};
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A TLS client on a port without TLS.
    #[error("a TLS client on a plain RTMP port; use rtmp:// here, or the port for rtmps://")]
    Tls,
    /// A browser or another HTTP client.
    #[error("an HTTP client on the RTMP port")]
    Http,
    /// RTMPE and its kind.
    #[error("encrypted RTMP (RTMPE) is not supported; use rtmps://")]
    Encrypted,
    /// Anything else.
    #[error("not RTMP: version {0} instead of 3")]
    Version(u8),
}

/// What a side shows in its first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Random bytes only.
    Plain,
    /// A digest in the block at byte 772 (the layout of Flash players from 9 to 10).
    DigestAt772,
    /// A digest in the block at byte 8 (from Flash player 10 on).
    DigestAt8,
}

/// The accepting end.
#[derive(Debug)]
pub struct Server {
    seed: u64,
    answered: bool,
}

impl Server {
    /// `seed` makes the random bytes; they need not be secret.
    pub fn new(seed: u64) -> Server {
        Server { seed, answered: false }
    }

    /// Goes on with what `input` has; true when the handshake is over and chunks follow.
    pub fn advance(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Result<bool, Error> {
        if !self.answered {
            check_version(input.first().copied())?;
            if input.len() < 1 + PACKET {
                return Ok(false);
            }
            self.answer(&input[1..1 + PACKET], out);
            input.advance(1 + PACKET);
            self.answered = true;
        }
        // What C2 says does not matter: many clients do not echo truly, and nothing follows from it.
        let done = input.len() >= PACKET;
        if done {
            input.advance(PACKET);
        }
        Ok(done)
    }

    fn answer(&self, c1: &[u8], out: &mut BytesMut) {
        out.reserve(1 + 2 * PACKET);
        out.put_u8(VERSION);
        match find_digest(c1, CLIENT_KEY) {
            Some((style, digest)) => {
                out.put_slice(&first_packet(self.seed, style, SERVER_KEY));
                out.put_slice(&second_packet(self.seed, &long_key(SERVER_KEY), &digest));
            }
            None => {
                out.put_slice(&first_packet(self.seed, Style::Plain, SERVER_KEY));
                out.put_slice(c1);
            }
        }
    }
}

/// The connecting end.
#[derive(Debug)]
pub struct Client {
    seed: u64,
}

impl Client {
    /// Writes the first packet to `out`.
    pub fn start(seed: u64, style: Style, out: &mut BytesMut) -> Client {
        out.put_u8(VERSION);
        out.put_slice(&first_packet(seed, style, CLIENT_KEY));
        Client { seed }
    }

    /// Goes on with what `input` has; true when the handshake is over and chunks may be sent.
    pub fn advance(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Result<bool, Error> {
        check_version(input.first().copied())?;
        if input.len() < 1 + 2 * PACKET {
            return Ok(false);
        }
        let s1 = &input[1..1 + PACKET];
        match find_digest(s1, SERVER_KEY) {
            Some((_, digest)) => out.put_slice(&second_packet(self.seed, &long_key(CLIENT_KEY), &digest)),
            None => out.put_slice(s1),
        }
        input.advance(1 + 2 * PACKET);
        Ok(true)
    }
}

fn check_version(first: Option<u8>) -> Result<(), Error> {
    match first {
        None | Some(VERSION) => Ok(()),
        Some(0x16) => Err(Error::Tls),
        Some(b'G' | b'P' | b'H' | b'O' | b'D' | b'C') => Err(Error::Http),
        Some(6 | 8) => Err(Error::Encrypted),
        Some(other) => Err(Error::Version(other)),
    }
}

/// C1 or S1: a time, a version (zero where there is no digest) and random bytes, the digest among them.
fn first_packet(seed: u64, style: Style, key: &[u8]) -> [u8; PACKET] {
    let mut packet = [0; PACKET];
    fill_random(seed, &mut packet[8..]);
    if style != Style::Plain {
        packet[4..8].copy_from_slice(&DIGEST_VERSION);
        let at = digest_offset(&packet, style);
        let digest = packet_digest(&packet, at, key);
        packet[at..at + DIGEST].copy_from_slice(&digest);
    }
    packet
}

/// C2 or S2 that answers a digest: random bytes, and a digest of them under a key made from the peer's digest.
fn second_packet(seed: u64, long_key: &[u8], peer_digest: &[u8; DIGEST]) -> [u8; PACKET] {
    let mut packet = [0; PACKET];
    fill_random(!seed, &mut packet);
    let key = hmac(long_key, &[peer_digest]);
    let digest = hmac(&key, &[&packet[..PACKET - DIGEST]]);
    packet[PACKET - DIGEST..].copy_from_slice(&digest);
    packet
}

/// The layout and value of the digest in a first packet, if it has a right one.
fn find_digest(packet: &[u8], key: &[u8]) -> Option<(Style, [u8; DIGEST])> {
    if packet[4..8] == [0; 4] {
        return None;
    }
    [Style::DigestAt8, Style::DigestAt772].into_iter().find_map(|style| {
        let at = digest_offset(packet, style);
        let digest = packet_digest(packet, at, key);
        (packet[at..at + DIGEST] == digest).then_some((style, digest))
    })
}

/// Where the digest stands: four bytes at the start of its block say how far behind them.
fn digest_offset(packet: &[u8], style: Style) -> usize {
    let block = if style == Style::DigestAt772 { 772 } else { 8 };
    let sum: usize = packet[block..block + 4].iter().map(|b| usize::from(*b)).sum();
    block + 4 + sum % (764 - 4 - DIGEST)
}

/// The digest of all bytes but its own.
fn packet_digest(packet: &[u8], at: usize, key: &[u8]) -> [u8; DIGEST] {
    hmac(key, &[&packet[..at], &packet[at + DIGEST..]])
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; DIGEST] {
    // HMAC takes keys of any length, so this never is the default.
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; DIGEST] };
    parts.iter().fold(mac, |mac, part| mac.chain_update(part)).finalize().into_bytes().into()
}

/// splitmix64: enough to make packets differ from each other.
fn fill_random(seed: u64, out: &mut [u8]) {
    let mut state = seed;
    for piece in out.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        piece.copy_from_slice(&z.to_le_bytes()[..piece.len()]);
    }
}

/// Bytes in C1, S1, C2 and S2.
pub const PACKET: usize = 1536;

const VERSION: u8 = 3;
const DIGEST: usize = 32;
/// Any version but zero says "I may have a digest".
const DIGEST_VERSION: [u8; 4] = [4, 5, 0, 1];
const CLIENT_KEY: &[u8] = b"Genuine Adobe Flash Player 001";
const SERVER_KEY: &[u8] = b"Genuine Adobe Flash Media Server 001";
/// What the long forms of both keys end with.
const KEY_TAIL: [u8; 32] = [
    0xf0, 0xee, 0xc2, 0x4a, 0x80, 0x68, 0xbe, 0xe8, 0x2e, 0x00, 0xd0, 0xd1, 0x02, 0x9e, 0x7e, 0x57, 0x6e, 0xec, 0x5d,
    0x2d, 0x29, 0x80, 0x6f, 0xab, 0x93, 0xb8, 0xe6, 0x36, 0xcf, 0xeb, 0x31, 0xae,
];

fn long_key(key: &[u8]) -> Vec<u8> {
    [key, &KEY_TAIL].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    /// Runs both ends against each other with `cut` bytes at a time; returns S1 and S2.
    fn meet(style: Style, cut: usize) -> (Vec<u8>, Vec<u8>) {
        let mut to_server = BytesMut::new();
        let mut to_client = BytesMut::new();
        let mut client = Client::start(1, style, &mut to_server);
        let mut server = Server::new(2);
        let (mut at_server, mut at_client) = (BytesMut::new(), BytesMut::new());
        let (mut client_done, mut server_done) = (false, false);
        let mut heard = Vec::new();
        for _ in 0..20_000 {
            at_server.extend_from_slice(&to_server.split_to(to_server.len().min(cut)));
            server_done = server_done || server.advance(&mut at_server, &mut to_client).unwrap();
            let piece = to_client.split_to(to_client.len().min(cut));
            heard.extend_from_slice(&piece);
            at_client.extend_from_slice(&piece);
            client_done = client_done || client.advance(&mut at_client, &mut to_server).unwrap();
            if client_done && server_done {
                assert!(at_server.is_empty() && at_client.is_empty());
                return (heard[1..=PACKET].to_vec(), heard[1 + PACKET..].to_vec());
            }
        }
        panic!("the handshake does not end");
    }

    #[test]
    fn plain_is_answered_plain_with_an_echo() {
        let (s1, s2) = meet(Style::Plain, 100_000);
        assert_eq!(s1[4..8], [0; 4]);
        assert_eq!(s2, first_packet(1, Style::Plain, CLIENT_KEY));
    }

    #[test]
    fn both_digest_layouts_are_answered_with_right_digests() {
        for style in [Style::DigestAt8, Style::DigestAt772] {
            let (s1, s2) = meet(style, 100_000);
            assert_eq!(find_digest(&s1, SERVER_KEY).unwrap().0, style);
            let (_, c1_digest) = find_digest(&first_packet(1, style, CLIENT_KEY), CLIENT_KEY).unwrap();
            let key = hmac(&long_key(SERVER_KEY), &[&c1_digest]);
            assert_eq!(s2[PACKET - DIGEST..], hmac(&key, &[&s2[..PACKET - DIGEST]]));
        }
    }

    #[test]
    fn a_byte_at_a_time_is_enough() {
        for style in [Style::Plain, Style::DigestAt8, Style::DigestAt772] {
            meet(style, 1);
        }
    }

    #[test]
    fn strangers_are_told_apart_by_their_first_byte() {
        let first = |byte: u8| Server::new(0).advance(&mut BytesMut::from(&[byte][..]), &mut BytesMut::new());
        assert_eq!(first(3), Ok(false));
        assert_eq!(first(0x16), Err(Error::Tls));
        assert_eq!(first(b'G'), Err(Error::Http));
        assert_eq!(first(6), Err(Error::Encrypted));
        assert_eq!(first(9), Err(Error::Version(9)));
    }

    proptest! {
        #[test]
        fn any_first_packet_is_answered(packet in proptest::collection::vec(any::<u8>(), PACKET)) {
            let mut input = BytesMut::from(&[3][..]);
            input.extend_from_slice(&packet);
            let mut out = BytesMut::new();
            prop_assert_eq!(Server::new(7).advance(&mut input, &mut out), Ok(false));
            prop_assert_eq!(out.len(), 1 + 2 * PACKET);
        }
    }
}
