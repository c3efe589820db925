//! One WHEP viewer: offer, transport, packets counted, reports sent, and a way of leaving. A task on its thread's runtime;
//! what it saw goes to the thread's tally.

use std::cell::RefCell;
use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use rtc_rtcp::goodbye::Goodbye;
use rtc_rtcp::sender_report::SenderReport;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::dtls::Identity;
use super::link::{Incoming, Link};
use super::sdp::{self, Answer, Direction, OPUS, TRANSPORT_WIDE};
use super::source::Clock;
use super::tally::Tally;
use super::track::{Arrivals, Header, Track, report};
use super::{Failure, signal};
use crate::progress::Progress;
use crate::target::Target;

/// What all viewers of one thread share.
pub(crate) struct Context {
    pub(crate) target: Target,
    pub(crate) identity: Identity,
    pub(crate) allow_remote: bool,
    pub(crate) progress: Arc<Progress>,
    /// Where the pictures carry their time, the clock that it is told by.
    pub(crate) clock: Option<Clock>,
    pub(crate) tally: RefCell<Tally>,
}

/// How a viewer leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// As WHEP asks.
    Delete,
    /// By the transport alone, as a closed tab does.
    Close,
    /// Not a word, as a cut cable.
    Vanish,
}

/// How long a viewer stays.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stay {
    /// Until then.
    Until(Instant),
    /// So long after its first picture.
    For(Duration),
}

struct Viewer<'c> {
    context: &'c Context,
    began: Instant,
    link: Link,
    video: u8,
    /// Pictures and sound.
    tracks: [Track; 2],
    arrivals: Arrivals,
    reported: Instant,
    first: Option<Instant>,
}

/// Joins, stays and leaves.
pub(crate) async fn visit(context: &Context, stay: Stay, leave: Leave) -> Result<(), Failure> {
    let began = Instant::now();
    let local = super::credentials(&context.identity)?;
    let offer = sdp::offer(Direction::Receive, &local, context.identity.fingerprint());
    let (answer, session) = signal::post(&context.target, offer).await?;
    let connected = async {
        let socket = open(&answer, context.allow_remote).await?;
        let server = socket.peer_addr().map_err(|_| Failure::Candidate)?;
        let link = Link::new(&context.identity, local, &answer, server)?;
        let video = answer.video.ok_or(Failure::Answer)?;
        let tracks = Default::default();
        let arrivals = Arrivals::default();
        Ok((Viewer { context, began, link, video, tracks, arrivals, reported: began, first: None }, socket))
    };
    let (watched, open) = match connected.await {
        Ok((mut viewer, socket)) => {
            let watched = viewer.watch(&socket, stay).await;
            context.tally.borrow_mut().tracks(&viewer.tracks, viewer.first.is_some());
            (watched, Some((viewer, socket)))
        }
        Err(failure) => (Err(failure), None),
    };
    // Who failed leaves nothing behind either.
    let asked = watched.is_err() || leave == Leave::Delete;
    let deleted = if asked { signal::delete(&context.target, &session).await } else { Ok(()) };
    match open {
        Some((_, socket)) if leave == Leave::Vanish => haunt(socket),
        Some((mut viewer, socket)) => {
            viewer.link.close(Instant::now());
            flush(&mut viewer.link, &socket);
        }
        None => {}
    }
    watched.and(deleted)
}

/// Keeps the port of a viewer that left without a word from others, for as long as the server sends to it.
fn haunt(socket: UdpSocket) {
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(0);
    tokio::task::spawn_local(async move {
        tokio::time::sleep(HAUNTED).await;
        drop(socket);
    });
}

/// A socket to the first candidate that can be used. Unless the load may go to other machines, an address is this one's only
/// if a socket can be bound to it.
pub(crate) async fn open(answer: &Answer, allow_remote: bool) -> Result<UdpSocket, Failure> {
    for candidate in &answer.candidates {
        let near = SocketAddr::new(candidate.ip(), 0);
        let any = if candidate.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let bound = match UdpSocket::bind(near).await {
            Err(_) if allow_remote => UdpSocket::bind(any).await,
            bound => bound,
        };
        let Ok(socket) = bound else { continue };
        // What a burst needs; the kernel gives what it is allowed to.
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(BUFFER);
        if socket.connect(candidate).await.is_ok() {
            return Ok(socket);
        }
    }
    Err(Failure::Candidate)
}

/// Sends what a link has to send. What the kernel has no room for is lost, as it is on the way.
pub(crate) fn flush(link: &mut Link, socket: &UdpSocket) {
    for datagram in link.outgoing() {
        let _ = socket.try_send(&datagram);
    }
}

impl Viewer<'_> {
    async fn watch(&mut self, socket: &UdpSocket, stay: Stay) -> Result<(), Failure> {
        let state = UdpSocketState::new(UdpSockRef::from(socket)).map_err(|_| Failure::Candidate)?;
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let now = tokio::select! {
                ready = socket.readable() => {
                    ready.map_err(|_| Failure::Closed)?;
                    let now = Instant::now();
                    while self.receive(socket, &state, now)? {}
                    now
                }
                _ = ticks.tick() => {
                    let now = Instant::now();
                    self.tick(now)?;
                    now
                }
            };
            flush(&mut self.link, socket);
            let until = match (stay, self.first) {
                (Stay::Until(until), _) => Some(until),
                (Stay::For(time), Some(first)) => Some(first + time),
                (Stay::For(_), None) => None,
            };
            if until.is_some_and(|until| now >= until) {
                return Ok(());
            }
        }
    }

    /// Reads once, what may be a whole frame (UDP GRO); false if there was nothing.
    fn receive(&mut self, socket: &UdpSocket, state: &UdpSocketState, now: Instant) -> Result<bool, Failure> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut metas = [RecvMeta::default()];
            let received = socket.try_io(Interest::READABLE, || {
                state.recv(UdpSockRef::from(socket), &mut [IoSliceMut::new(scratch)], &mut metas)
            });
            if received.is_err() {
                return Ok(false);
            }
            let [meta] = metas;
            for datagram in scratch[..meta.len].chunks(meta.stride.max(1)) {
                self.datagram(datagram, now)?;
            }
            Ok(true)
        })
    }

    fn datagram(&mut self, datagram: &[u8], now: Instant) -> Result<(), Failure> {
        match self.link.datagram(datagram, now)? {
            Incoming::Nothing => {}
            Incoming::Connected => {
                self.context.tally.borrow_mut().connect.record(now - self.began);
                Progress::add(&self.context.progress.active, 1);
            }
            Incoming::Rtp => self.packet(datagram, now),
            Incoming::Rtcp(packets) => self.rtcp(packets.freeze(), now)?,
        }
        Ok(())
    }

    fn packet(&mut self, packet: &[u8], now: Instant) {
        let Some(header) = Header::read(packet, TRANSPORT_WIDE) else { return };
        let progress = &self.context.progress;
        Progress::add(&progress.items, 1);
        Progress::add(&progress.bytes, packet.len() as u64);
        if let Some(number) = header.transport_wide {
            self.arrivals.push(number, now);
        }
        if header.payload_type == OPUS {
            self.tracks[1].take(&header, packet.len(), now);
        } else if header.payload_type == self.video {
            let gap = self.tracks[0].take(&header, packet.len(), now);
            let mut tally = self.context.tally.borrow_mut();
            if self.first.is_none() {
                self.first = Some(now);
                tally.join.record(now - self.began);
            }
            gap.into_iter().for_each(|gap| tally.gap(gap));
            drop(tally);
            // What was sent before it came is of no use to the clock.
            let is_timed = header.marker && self.first.is_some_and(|first| now - first > CATCH_UP);
            self.prove(packet, is_timed.then_some(now));
        }
    }

    /// Opens some packets, to see that they are what the server's keys make of a picture, and those that carry the time.
    fn prove(&mut self, packet: &[u8], timed: Option<Instant>) {
        let clock = self.context.clock.zip(timed);
        if clock.is_none() && !self.tracks[0].packets.is_multiple_of(PROVEN) {
            return;
        }
        let opened = self.link.open(packet);
        let mut tally = self.context.tally.borrow_mut();
        tally.unproven += u64::from(opened.is_none());
        if let Some(delay) = clock.zip(opened).and_then(|((clock, now), opened)| clock.read(&opened, now)) {
            tally.delay.record(delay);
        }
    }

    fn rtcp(&mut self, mut packets: Bytes, now: Instant) -> Result<(), Failure> {
        while packets.has_remaining() {
            let Ok(read) = rtc_rtcp::packet::unmarshal(&mut packets) else { return Ok(()) };
            for packet in read.iter().map(|packet| packet.as_any()) {
                if let Some(report) = packet.downcast_ref::<SenderReport>() {
                    let track = self.tracks.iter_mut().find(|track| track.ssrc == Some(report.ssrc));
                    track.into_iter().for_each(|track| track.heard(report.ntp_time, now));
                } else if packet.is::<Goodbye>() {
                    return Err(Failure::Closed);
                }
            }
        }
        Ok(())
    }

    fn tick(&mut self, now: Instant) -> Result<(), Failure> {
        self.link.tick(now)?;
        if self.first.is_none() && now - self.began > PATIENCE {
            return Err(if self.link.is_connected() { Failure::Silence } else { Failure::Handshake });
        }
        let media = self.tracks[0].ssrc.or(self.tracks[1].ssrc);
        if let Some(feedback) = media.and_then(|media| self.arrivals.feedback(media, self.began)) {
            self.link.say(&feedback);
        }
        if media.is_some() && now - self.reported >= REPORT {
            self.reported = now;
            let report = report(&mut self.tracks, now);
            self.link.say(&report);
        }
        Ok(())
    }
}

thread_local! {
    /// What all sockets of a thread read into.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; 64 << 10].into());
}

/// As often as browsers send transport-wide feedback.
const TICK: Duration = Duration::from_millis(100);
/// Receiver reports.
const REPORT: Duration = Duration::from_secs(1);
/// From the offer to the first picture.
const PATIENCE: Duration = Duration::from_secs(15);
/// A viewer that comes is sent the group of pictures so far.
const CATCH_UP: Duration = Duration::from_secs(1);
/// RFC 7675 has a server stop after 30 s.
pub(crate) const HAUNTED: Duration = Duration::from_secs(35);
/// One packet in so many is opened.
const PROVEN: u64 = 64;
/// Bytes of the kernel's buffer: a key frame and what comes while the thread is busy.
const BUFFER: usize = 1 << 20;
