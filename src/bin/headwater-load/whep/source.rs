//! A WHIP publisher of pictures that cannot be decoded and carry the moment of their sending, so that viewers of the same
//! process can say how long the server had them. Runs on a thread of its own. Pictures are H.264 in form: parameter sets,
//! and slices of the size that a bit rate asks for.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;

use super::dtls::Identity;
use super::link::{Incoming, Link};
use super::sdp::{self, Direction, H264, SSRC};
use super::{Failure, signal, viewer};
use crate::target::Target;

/// The clock of a run: everything is told since its beginning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// From now on.
    pub(crate) fn new() -> Clock {
        Clock(Instant::now())
    }

    /// The stamp of this moment: digits alone, which no byte stream of H.264 has to escape.
    fn stamp(&self) -> [u8; STAMP] {
        let mut stamp = [0; STAMP];
        let _ = write!(&mut stamp[..], "HWLD{:016x}", self.0.elapsed().as_nanos() as u64);
        stamp
    }

    /// How long before `now` the stamp at the end of a packet was made.
    pub(crate) fn read(&self, packet: &[u8], now: Instant) -> Option<Duration> {
        let digits = packet.last_chunk::<STAMP>()?.strip_prefix(b"HWLD")?;
        let nanos = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        Some(now.saturating_duration_since(self.0).saturating_sub(Duration::from_nanos(nanos)))
    }
}

/// What is published.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pictures {
    /// Of one picture's slice.
    pub(crate) bytes: usize,
    /// Between two pictures.
    pub(crate) pace: Duration,
    /// Pictures from one key frame to the next.
    pub(crate) group: u64,
}

impl Default for Pictures {
    /// 2 Mbit/s at 30 pictures a second, a key frame each two seconds.
    fn default() -> Pictures {
        Pictures { bytes: 2_000_000 / 8 / 30, pace: Duration::from_nanos(1_000_000_000 / 30), group: 60 }
    }
}

/// Publishes until stopped; `live` is set once the server has keys.
pub(crate) async fn publish(
    target: &Target,
    clock: Clock,
    (live, stop): (&AtomicBool, &AtomicBool),
    allow_remote: bool,
) -> Result<(), Failure> {
    let identity = Identity::new().map_err(|_| Failure::Handshake)?;
    let local = super::credentials(&identity)?;
    let offer = sdp::offer(Direction::Send, &local, identity.fingerprint());
    let (answer, session) = signal::post(target, offer).await?;
    let socket = viewer::open(&answer, allow_remote).await?;
    let server = socket.peer_addr().map_err(|_| Failure::Candidate)?;
    let mut link = Link::new(&identity, local, &answer, server)?;
    let mut packets = Packets::new(answer.video.unwrap_or(H264[0].0));
    let pictures = Pictures::default();
    let mut ticks = tokio::time::interval(pictures.pace);
    let began = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        tokio::select! {
            ready = socket.readable() => {
                ready.map_err(|_| Failure::Closed)?;
                receive(&mut link, &socket)?;
            }
            _ = ticks.tick() => {
                link.tick(Instant::now())?;
                if link.is_connected() {
                    live.store(true, Ordering::Relaxed);
                    packets.picture(pictures, clock, &mut |packet| {
                        if let Some(sealed) = link.seal(packet) {
                            let _ = socket.try_send(&sealed);
                        }
                    });
                } else if began.elapsed() > PATIENCE {
                    return Err(Failure::Handshake);
                }
            }
        }
        viewer::flush(&mut link, &socket);
    }
    // Either is enough, and not every server knows both.
    let _ = signal::delete(target, &session).await;
    link.close(Instant::now());
    viewer::flush(&mut link, &socket);
    Ok(())
}

fn receive(link: &mut Link, socket: &UdpSocket) -> Result<(), Failure> {
    let mut datagram = [0; 2_048];
    while let Ok(length) = socket.try_recv(&mut datagram) {
        // What the server has to say of the link changes nothing here.
        let (Incoming::Nothing | Incoming::Connected | Incoming::Rtp | Incoming::Rtcp(_)) =
            link.datagram(&datagram[..length], Instant::now())?;
    }
    Ok(())
}

/// Makes RTP packets of pictures (RFC 6184).
struct Packets {
    payload_type: u8,
    sequence: u16,
    picture: u64,
}

impl Packets {
    fn new(payload_type: u8) -> Packets {
        Packets { payload_type, sequence: 1, picture: 0 }
    }

    fn picture(&mut self, pictures: Pictures, clock: Clock, send: &mut impl FnMut(&[u8])) {
        let key = self.picture.is_multiple_of(pictures.group);
        let stamp = (self.picture * 90_000 * pictures.pace.as_nanos() as u64 / 1_000_000_000) as u32;
        if key {
            for set in [SPS, PPS] {
                self.packet(false, stamp, &[set], send);
            }
        }
        // The header byte of a slice, and the beginning of its header: first macroblock 0, all of one type, set 0.
        let (head, slice) = if key { (0x65, [0x88, 0x84]) } else { (0x61, [0x9a, 0x24]) };
        let body = pictures.bytes.max(2 * LARGEST);
        let count = body.div_ceil(LARGEST);
        for at in 0..count {
            let (first, last) = (at == 0, at + 1 == count);
            let fragment = [0x60 & head | 28, (u8::from(first) << 7) | (u8::from(last) << 6) | (head & 31)];
            let mut filling = vec![0x55_u8; LARGEST];
            if first {
                filling[..2].copy_from_slice(&slice);
            }
            if last {
                filling.truncate(body - at * LARGEST);
                filling.resize(filling.len().max(STAMP), 0x55);
                let end = filling.len() - STAMP;
                filling[end..].copy_from_slice(&clock.stamp());
            }
            self.packet(last, stamp, &[&fragment, &filling], send);
        }
        self.picture += 1;
    }

    fn packet(&mut self, marker: bool, stamp: u32, payload: &[&[u8]], send: &mut impl FnMut(&[u8])) {
        let mut packet = vec![0x80, (u8::from(marker) << 7) | self.payload_type];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(stamp.to_be_bytes());
        packet.extend(SSRC.to_be_bytes());
        payload.iter().for_each(|part| packet.extend_from_slice(part));
        self.sequence = self.sequence.wrapping_add(1);
        send(&packet);
    }
}

/// Constrained baseline, 1280x720.
const SPS: &[u8] = &[
    0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xec, 0x04, 0x40, 0x00, 0x00, 0x03, 0x00, 0x40, 0x00, 0x00, 0x0f,
    0x03, 0xc6, 0x0c, 0xa8,
];
const PPS: &[u8] = &[0x68, 0xce, 0x3c, 0x80];
/// Payload bytes of a packet.
const LARGEST: usize = 1_150;
/// Bytes of a stamp.
const STAMP: usize = 20;
const PATIENCE: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_picture_ends_with_its_time() {
        let (mut packets, clock) = (Packets::new(102), Clock::new());
        let mut made: Vec<Vec<u8>> = Vec::new();
        for _ in 0..2 {
            packets.picture(Pictures::default(), clock, &mut |packet| made.push(packet.to_vec()));
        }
        let markers = made.iter().filter(|packet| packet[1] & 0x80 != 0);
        assert!(
            markers.clone().count() == 2 && markers.clone().all(|packet| clock.read(packet, Instant::now()).is_some())
        );
        assert!(clock.read(&made[2], Instant::now()).is_none() && clock.read(&[], Instant::now()).is_none());
        let bytes: usize = made[2..].iter().map(|packet| packet.len() - 14).sum();
        assert_eq!(bytes, 2 * Pictures::default().bytes);
    }
}
