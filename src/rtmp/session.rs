//! One connection: reads, lets `protocol` and `tracks` make events and frames of it, and pushes frames to the hub. It
//! does not read while it writes or pushes, which is all the back-pressure there is. Spawned by `listener`; says why it
//! ended to the peer, to the counters and, once, to the log.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::amf0::Value;
use super::door::Pass;
use super::end::End;
use super::intake::Intake;
use super::listener::{Settings, Shared};
use super::meters::Tally;
use super::protocol::{Event, Protocol, Request};
use super::status::Status;
use super::tracks::{Dropped, Reason, Step, Tracks};
use crate::access::{From, Seat};
use crate::hub::{Declared, Ended, Publisher, Source};
use crate::media::{Frame, Kind};

/// A connection, behind TLS where there is any.
pub(super) struct Session<S> {
    io: S,
    peer: Peer,
    shared: Arc<Shared>,
    /// As they were when it came.
    settings: Arc<Settings>,
    pass: Pass,
    intake: Intake,
    protocol: Protocol,
    tracks: Tracks,
    publisher: Option<Publisher>,
    /// Its place among the sessions of its address.
    seat: Option<Seat>,
    tally: Tally,
    /// Pieces of advice that were given.
    advised: u32,
    about: About,
}

/// The other end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// Its address.
    pub(super) address: SocketAddr,
    /// `rtmp` or `rtmps`.
    pub(super) protocol: &'static str,
    /// When it came.
    pub(super) since: Instant,
}

/// What the log says at the end.
#[derive(Debug, Default)]
struct About {
    client: String,
    encoder: String,
    video_frames: u64,
    audio_frames: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) fn new(io: S, peer: Peer, pass: Pass, shared: Arc<Shared>, seed: u64) -> Session<S> {
        let settings = shared.settings.get();
        Session {
            io,
            peer,
            pass,
            intake: Intake::small(),
            protocol: Protocol::new(settings.app, settings.limits, seed),
            tracks: Tracks::default(),
            publisher: None,
            seat: None,
            tally: Tally::default(),
            advised: 0,
            about: About::default(),
            settings,
            shared,
        }
    }

    /// Runs the connection to its end.
    pub(super) async fn run(mut self) {
        let end = match self.open().await {
            Ok(()) => self.publish().await,
            Err(end) => end,
        };
        let publisher = self.publisher.take();
        match (&end, publisher) {
            (End::Goodbye, Some(publisher)) => publisher.finish(),
            (_, publisher) => drop(publisher),
        }
        self.seat = None;
        self.report(&end);
        self.farewell(&end).await;
    }

    /// From the first byte until the peer publishes. The time for all of it is bounded.
    async fn open(&mut self) -> Result<(), End> {
        let shared = self.shared.clone();
        let limit = self.settings.start_timeout;
        let late = tokio::time::sleep_until(self.peer.since + limit);
        let evicted = self.pass.evicted.clone();
        tokio::select! {
            biased;
            opened = self.until_publishing() => opened,
            () = late => Err(End::Late(limit.as_secs())),
            () = evicted.cancelled() => Err(End::Evicted),
            () = shared.stop.cancelled() => Err(End::Stopped),
        }
    }

    async fn until_publishing(&mut self) -> Result<(), End> {
        while self.publisher.is_none() {
            let read = self.intake.read(&mut self.io, self.protocol.wanted()).await?;
            self.digest(read).await?;
            self.flush().await?;
        }
        Ok(())
    }

    /// While the peer publishes.
    async fn publish(&mut self) -> End {
        let shared = self.shared.clone();
        let mut stopped = pin!(shared.stop.cancelled());
        loop {
            // The read comes first: where it is ready, the other futures are not even polled. They are heard all the
            // same, because a read is not always ready, and because pushing to an ended publisher is an error.
            let read = tokio::select! {
                biased;
                read = self.intake.read(&mut self.io, self.protocol.wanted()) => read,
                word = word(&mut self.publisher) => match word {
                    Word::Ended(ended) => return ended.into(),
                    Word::Advice(text) => {
                        self.advise(&text);
                        if let Err(end) = self.flush().await {
                            return end;
                        }
                        continue;
                    }
                },
                () = &mut stopped => return End::Stopped,
            };
            let done = match read {
                Ok(read) => self.digest(read).await,
                Err(error) => return error.into(),
            };
            if let Err(end) = done {
                return end;
            }
            if let Err(end) = self.flush().await {
                return end;
            }
        }
    }

    /// Acts on what one read brought.
    async fn digest(&mut self, read: usize) -> Result<(), End> {
        if read == 0 {
            return Err(End::Closed);
        }
        self.protocol.count(read);
        if self.tally.add(read) {
            self.tally.meter(&self.shared.meters, self.tracks.dropped());
        }
        while let Some(event) = self.protocol.next(&mut self.intake.buffer)? {
            match event {
                Event::Publish(request) => self.admit(request).await?,
                event => self.act(event)?,
            }
        }
        Ok(())
    }

    fn act(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Video(timestamp, body) => {
                let step = self.tracks.video(timestamp, &body)?;
                self.step(step)
            }
            Event::Audio(timestamp, body) => {
                let step = self.tracks.audio(timestamp, &body)?;
                self.step(step)
            }
            Event::Metadata(entries) => {
                if let Some(publisher) = &mut self.publisher {
                    publisher.declare(declared(&entries));
                }
                let encoder = entries.get("encoder").and_then(|value| value.as_str());
                self.about.encoder = encoder.map(cut).unwrap_or_default();
                Ok(())
            }
            // Awaits its answer, so the caller does that.
            Event::Publish(_) => Ok(()),
            Event::Goodbye => Err(End::Goodbye),
            Event::Refused(status) => Err(End::Told(status)),
        }
    }

    fn step(&mut self, step: Step) -> Result<(), End> {
        let Some(publisher) = &mut self.publisher else { return Ok(()) };
        match step {
            Step::Announce(config) => publisher.announce(config),
            Step::Frame(frame) => {
                self.about.count(&frame);
                publisher.push(frame)?;
            }
            Step::Nothing => {}
        }
        Ok(())
    }

    /// Decides about a wish to publish.
    async fn admit(&mut self, request: Request) -> Result<(), End> {
        self.about.client = cut(&request.client);
        let Peer { address, protocol, .. } = self.peer;
        let from = From { user_agent: Some(self.about.client.clone()), ..From::new(address.ip(), protocol) };
        let grant = self.shared.access.publish(&request.key, &from).await?;
        tracing::Span::current().record("stream", grant.stream.as_str());
        self.seat = grant.seat;
        let source = Source { protocol, peer: address, client: self.about.client.clone(), key: grant.key };
        self.publisher = Some(self.shared.hub.publish(&grant.stream, source)?);
        tracing::info!(client = self.about.client, "publisher connected");
        self.protocol.accept();
        self.pass.publishes();
        self.intake.enlarge();
        Ok(())
    }

    /// Says what is wrong with the stream, and which setting mends it.
    fn advise(&mut self, text: &str) {
        if self.advised < MOST_ADVICE {
            self.advised += 1;
            self.protocol.notify(&Status::advice(text));
        }
    }

    async fn flush(&mut self) -> Result<(), End> {
        let out = self.protocol.output();
        if out.is_empty() {
            return Ok(());
        }
        let write = async {
            self.io.write_all_buf(out).await?;
            self.io.flush().await
        };
        match timeout(self.settings.write_timeout, write).await {
            Ok(written) => Ok(written?),
            Err(_) => Err(End::Deaf),
        }
    }

    /// Says the last word and sees that it arrives: closing while the peer still sends would make its system throw the
    /// word away with the connection, so what comes is read and dropped for a moment. A peer that said goodbye may close
    /// first: GStreamer takes anything else for an error.
    async fn farewell(mut self, end: &End) {
        if let Some(status) = end.status() {
            self.protocol.close(&status);
        }
        let speechless = matches!(end, End::Closed | End::Broken(_) | End::Deaf);
        if speechless || self.flush().await.is_err() {
            return;
        }
        // Whether the peer was there to hear it changes nothing.
        let _ = timeout(LINGER, self.linger(matches!(end, End::Goodbye))).await;
    }

    async fn linger(&mut self, peer_closes: bool) -> io::Result<()> {
        if !peer_closes {
            self.io.shutdown().await?;
        }
        let mut waste = vec![0; 16 * 1024];
        let mut left = LINGER_BYTES;
        while left > 0 {
            match self.io.read(&mut waste).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        Ok(())
    }

    fn report(&mut self, end: &End) {
        let dropped = self.dropped();
        self.tally.meter(&self.shared.meters, &dropped);
        if let Some(reason) = end.refusal() {
            self.shared.meters.refused(reason);
        }
        let About { client, encoder, video_frames, audio_frames } = &self.about;
        let (bytes, dropped) = (self.tally.bytes, dropped.total());
        let seconds = self.peer.since.elapsed().as_secs();
        if matches!(end, End::Access(_)) {
            // Access tells of refusals, and of those that come by the thousand only now and then.
            tracing::debug!(client, seconds, reason = %end, "publisher was refused");
        } else if self.protocol.is_handshaken() {
            tracing::info!(
                client, encoder, bytes, video_frames, audio_frames, dropped, seconds, reason = %end,
                "session ended"
            );
        } else {
            // Port scans and health checks are no news.
            tracing::debug!(bytes, seconds, reason = %end, "connection ended");
        }
    }

    fn dropped(&self) -> Dropped {
        let mut dropped = *self.tracks.dropped();
        dropped.add(Reason::Early, self.protocol.early());
        dropped
    }
}

impl About {
    fn count(&mut self, frame: &Frame) {
        match frame.kind() {
            Kind::Video => self.video_frames += 1,
            Kind::Audio => self.audio_frames += 1,
        }
    }
}

/// What the hub has to say to the session.
enum Word {
    Ended(Ended),
    Advice(Arc<str>),
}

async fn word(publisher: &mut Option<Publisher>) -> Word {
    match publisher {
        Some(publisher) => publisher.word().await.map_or_else(Word::Ended, Word::Advice),
        None => std::future::pending().await,
    }
}

/// What an encoder says that it sends. A zero says nothing.
fn declared(metadata: &Value) -> Declared {
    let number =
        |key| metadata.get(key).and_then(Value::as_number).filter(|number| *number > 0.0 && number.is_finite());
    Declared {
        width: number("width"),
        height: number("height"),
        frame_rate: number("framerate"),
        // In kbit/s.
        video_bitrate: number("videodatarate").map(|rate| rate * 1000.0),
    }
}

/// What a client says of itself, without what would upset a log, and not too much of it.
fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_CLIENT).collect()
}

/// Pieces of advice in a session. All of them fit into the buffers of a connection whose peer never reads.
const MOST_ADVICE: u32 = 32;
/// Characters of a client's name.
const MAX_CLIENT: usize = 128;
/// How long a peer that was told of the end may go on sending: a round trip, and what it had in its buffers.
const LINGER: Duration = Duration::from_secs(1);
/// How much it may send meanwhile.
const LINGER_BYTES: usize = 4 << 20;
