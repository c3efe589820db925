//! LL-HLS, valid by construction: follows every stream of the hub, cuts it into parts and segments, renders each
//! playlist once, and answers who waits for them. `http` calls [`Hls`]; nothing here knows HTTP.

mod multivariant;
mod pace;
mod packager;
mod page;
mod playlist;
mod presentation;
mod rendition;
mod rung;
mod segmenter;
mod sound;
mod trail;
mod window;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::current::Current;
use crate::hub::{Event, From, Hub, Stream};
use crate::media::Time;
pub use pace::Spacing;
use presentation::{Over, Presentation};

/// What a viewer asks of a media playlist: the delivery directives of RFC 8216bis section 6.2.5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reload {
    /// `_HLS_msn`: hold the answer until this media sequence number is in the playlist.
    pub msn: Option<u64>,
    /// `_HLS_part`: of that segment, hold until this part is. Without `msn` a bad request.
    pub part: Option<u64>,
    /// `_HLS_skip=YES` or `v2`: a delta playlist is welcome.
    pub skip: bool,
    /// An ordinary HLS view without parts, for players that ask with `ll=0`.
    pub plain: bool,
}

/// A rendered playlist: the same bytes for every viewer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Rendered(Arc<page::Page>);

/// An init section, part or segment: immutable for ever under its URL.
#[derive(Clone, Debug)]
pub struct Media {
    /// The bytes in order; a segment is the run of its parts.
    pub chunks: Arc<[Bytes]>,
    /// Sum of the chunks' lengths in bytes.
    pub length: usize,
}

/// Why there is no playlist or media to give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such stream, rendition or file, or it has left the window. HTTP 404.
    #[error("{0}")]
    NotFound(&'static str),
    /// The directives make no sense. HTTP 400.
    #[error("{0}")]
    BadRequest(&'static str),
    /// Not yet: the stream has no whole segment so far, or the part did not come in time. HTTP 503 with Retry-After.
    #[error("{reason}")]
    NotYet {
        /// What is missing.
        reason: &'static str,
        /// When to ask again.
        retry_after: Duration,
    },
}

/// Bounds and policies; defaults in `config`.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// PART-TARGET, unless the frame rate asks for a longer one.
    pub part_target: Duration,
    /// PART-HOLD-BACK in part targets; at least 3.
    pub hold_back_parts: u32,
    /// Length of past segments that stay in the playlist.
    pub window: Duration,
    /// How long an ended stream stays watchable.
    pub linger: Duration,
    /// How long the first request is held while a stream starts.
    pub start_timeout: Duration,
}

/// How far a presentation is, for pages and the API.
#[derive(Clone, Debug)]
pub struct Progress {
    /// In URLs.
    pub epoch: u64,
    /// EXT-X-TARGETDURATION in seconds and PART-TARGET, once known.
    pub targets: Option<(u32, Duration)>,
    /// PART-HOLD-BACK: how far behind the newest part players are told to stay; once known.
    pub hold_back: Option<Duration>,
    /// The source's renditions, then its rungs.
    pub renditions: Vec<RenditionProgress>,
}

/// How far a rendition is.
#[derive(Clone, Debug)]
pub struct RenditionProgress {
    /// As in URLs.
    pub name: String,
    /// Its last media sequence number.
    pub msn: u64,
    /// The last part of that segment.
    pub part: u64,
    /// How evenly its parts come; None before there are two.
    pub spacing: Option<Spacing>,
}

/// All presentations. Cheap to clone; `http` asks it by stream name.
#[derive(Clone, Debug)]
pub struct Hls {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    hub: Hub,
    settings: Current<Settings>,
    names: RwLock<HashMap<String, Shown>>,
}

/// What is shown under a name: the newest epoch, and the one before it for players that still have its URLs.
#[derive(Debug)]
struct Shown {
    newest: Arc<Presentation>,
    before: Option<Arc<Presentation>>,
}

const NO_STREAM: Refusal = Refusal::NotFound("no such stream on air");

impl Hls {
    /// With no presentations yet.
    pub fn new(hub: Hub, settings: Settings) -> Hls {
        Hls { shared: Arc::new(Shared { hub, settings: Current::new(settings), names: RwLock::default() }) }
    }

    /// Other settings: the linger time at once, all others from the next start of a stream on, for playlists promise them.
    pub fn apply(&self, settings: Settings) {
        self.shared.settings.set(settings);
    }

    /// Packages every stream of the hub until stopped. Run once.
    pub async fn follow(&self, stop: CancellationToken) {
        let mut events = self.shared.hub.events();
        let mut streams = JoinSet::new();
        for stream in self.shared.hub.streams() {
            streams.spawn(self.clone().package(stream));
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(_) = streams.join_next() => {}
                event = events.next() => match event {
                    Ok(Some(Event::Started(stream))) => {
                        if let Some(stream) = stream.upgrade() {
                            streams.spawn(self.clone().package(stream));
                        }
                    }
                    Ok(Some(Event::Ended(_))) => {}
                    Ok(None) => return,
                    Err(lagged) => {
                        tracing::error!(%lagged, "the packager missed events of the hub");
                        events.skip_to_newest_start();
                        self.shared.hub.streams().into_iter().filter(|stream| !self.shows(stream)).for_each(|stream| {
                            streams.spawn(self.clone().package(stream));
                        });
                    }
                },
            }
        }
    }

    /// The multivariant playlist of a stream. Held until the first whole segment exists (bounded), else `NotYet`.
    /// `plain`: name the ordinary HLS view (`ll=0`) of each media playlist.
    pub async fn multivariant(&self, name: &str, plain: bool) -> Result<Rendered, Refusal> {
        let presentation = self.newest(name).ok_or(NO_STREAM)?;
        presentation.multivariant(plain).await
    }

    /// A media playlist; held as the directives ask. `rendition` is the file name without `.m3u8`.
    pub async fn playlist(&self, name: &str, rendition: &str, reload: Reload) -> Result<Rendered, Refusal> {
        let presentation = self.newest(name).ok_or(NO_STREAM)?;
        presentation.playlist(rendition, reload).await
    }

    /// An init section (`init-N.mp4`), segment (`MSN.m4s`) or part (`MSN.PART.m4s`); the part that is hinted next is held.
    pub async fn media(&self, name: &str, epoch: u64, rendition: &str, file: &str) -> Result<Media, Refusal> {
        let presentation = self.of_epoch(name, epoch).ok_or(Refusal::NotFound("no such stream epoch on air"))?;
        presentation.media(rendition, file).await
    }

    /// A recent picture of a stream that is live or waits, as JPEG.
    pub fn still(&self, name: &str) -> Result<Bytes, Refusal> {
        let stream = self.shared.hub.stream(name).ok_or(NO_STREAM)?;
        stream.still().ok_or(Refusal::NotYet { reason: "no picture yet", retry_after: Duration::from_secs(1) })
    }

    /// True while the name has something to play (live, waiting, or ended and still watchable).
    pub fn on_air(&self, name: &str) -> bool {
        self.newest(name).is_some()
    }

    /// EXT-X-TARGETDURATION of the newest epoch of a stream, once known.
    pub fn target_duration(&self, name: &str) -> Option<Duration> {
        self.newest(name)?.target_duration().map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// How far the newest epoch of a stream is.
    pub fn progress(&self, name: &str) -> Option<Progress> {
        self.newest(name).map(|presentation| presentation.progress())
    }

    /// Packages one stream until it is over, then keeps it watchable for the linger time.
    async fn package(self, stream: Arc<Stream>) {
        let mut epoch = stream.epoch();
        let mut from = From::Oldest;
        loop {
            let settings = self.shared.settings.get();
            let presentation = Arc::new(Presentation::new(epoch, settings.start_timeout));
            self.show(stream.name().as_str(), presentation.clone());
            let cursor = stream.frames().cursor(from);
            let over = presentation.run(&stream, cursor, &settings, self.shared.hub.budget()).await;
            if over == Over::Ended {
                let name = stream.name().clone();
                // What viewers may still ask for is in the presentation; the frames are no longer needed. Neither is the
                // presentation, once later epochs have taken its place under the name.
                let shown = Arc::downgrade(&presentation);
                drop((stream, presentation));
                tokio::time::sleep(self.shared.settings.get().linger).await;
                self.forget(name.as_str(), &shown);
                return;
            }
            // Its players find the end and then the new epoch.
            epoch = self.shared.hub.fresh_epoch();
            from = From::NewestStart;
        }
    }

    fn show(&self, name: &str, presentation: Arc<Presentation>) {
        let mut names = self.shared.names.write().unwrap_or_else(PoisonError::into_inner);
        let before = names.remove(name).map(|shown| shown.newest);
        names.insert(name.to_owned(), Shown { newest: presentation, before });
    }

    fn forget(&self, name: &str, presentation: &Weak<Presentation>) {
        let is_over = |shown: &Arc<Presentation>| Arc::as_ptr(shown) == presentation.as_ptr();
        let mut names = self.shared.names.write().unwrap_or_else(PoisonError::into_inner);
        let Some(shown) = names.get_mut(name) else { return };
        if is_over(&shown.newest) {
            names.remove(name);
        } else if shown.before.as_ref().is_some_and(is_over) {
            shown.before = None;
        }
    }

    fn newest(&self, name: &str) -> Option<Arc<Presentation>> {
        let names = self.shared.names.read().unwrap_or_else(PoisonError::into_inner);
        names.get(name).map(|shown| shown.newest.clone())
    }

    fn of_epoch(&self, name: &str, epoch: u64) -> Option<Arc<Presentation>> {
        let names = self.shared.names.read().unwrap_or_else(PoisonError::into_inner);
        let shown = names.get(name)?;
        let both = [Some(&shown.newest), shown.before.as_ref()];
        both.into_iter().flatten().find(|presentation| presentation.epoch() == epoch).cloned()
    }

    fn shows(&self, stream: &Stream) -> bool {
        self.of_epoch(stream.name().as_str(), stream.epoch()).is_some()
    }
}

impl Settings {
    fn part_target(&self) -> Time {
        Time::from_duration(self.part_target)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::access::StreamName;
    use crate::hub::{self, Source, Takeover};
    use crate::media::{Codec, Config, Frame, VideoConfig};

    fn hub() -> Hub {
        Hub::new(hub::Settings {
            takeover: Takeover::Newest,
            reconnect_window: Duration::from_secs(30),
            media_idle: Duration::from_secs(5),
            end_on_unpublish: true,
            max_streams: 2,
            stream_bytes: 1 << 20,
            process_bytes: 1 << 30,
            segment_target: Duration::from_secs(2),
            segment_max: Duration::from_secs(10),
            ladders: false,
        })
    }

    fn settings() -> Settings {
        Settings {
            part_target: Duration::from_millis(256),
            hold_back_parts: 3,
            window: Duration::from_secs(30),
            linger: Duration::from_secs(60),
            start_timeout: Duration::from_secs(1),
        }
    }

    fn frame(config: &Arc<Config>, number: i64) -> Frame {
        let at = Time::from_millis(40 * number);
        let payload = Bytes::from(vec![0; 1000]);
        Frame { dts: at, pts: at, key: number == 0, cut: None, config: config.clone(), payload }
    }

    /// One short show, until all that is left of it is what lingers.
    async fn show(hub: &Hub, hls: &Hls) {
        let config = Arc::new(Config::Video(VideoConfig {
            codec: Codec::H264,
            record: Bytes::from_static(&[1, 0x64, 0, 31, 0xff]),
            width: 640,
            height: 360,
            codecs: "avc1.64001f".into(),
        }));
        let source = Source { protocol: "rtmp", peer: ([127, 0, 0, 1], 1).into(), client: String::new(), key: None };
        let mut publisher = hub.publish(&StreamName::new("show").unwrap(), source).unwrap();
        (0..FRAMES).for_each(|number| publisher.push(frame(&config, number)).unwrap());
        let epoch = hub.stream("show").unwrap().epoch();
        // What goes on without a sleep is done by then.
        tokio::time::sleep(Duration::from_millis(10)).await;
        publisher.finish();
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(hls.of_epoch("show", epoch).is_some_and(|shown| !shown.progress().renditions.is_empty()));
    }

    const FRAMES: i64 = 50;

    #[tokio::test(start_paused = true)]
    async fn a_name_that_comes_and_goes_keeps_two_epochs_in_memory_and_in_the_end_none() {
        let (hub, stop) = (hub(), CancellationToken::new());
        let hls = Hls::new(hub.clone(), settings());
        let follower = hls.clone();
        let told = stop.clone();
        let following = tokio::spawn(async move { follower.follow(told).await });
        tokio::task::yield_now().await;
        show(&hub, &hls).await;
        let one = hub.budget().used();
        assert!(one > 1000 * FRAMES as usize, "{one}");
        for _ in 0..10 {
            show(&hub, &hls).await;
            assert!(hub.budget().used() <= 2 * one, "{} bytes where one epoch has {one}", hub.budget().used());
        }
        tokio::time::sleep(settings().linger + Duration::from_secs(1)).await;
        assert_eq!((hub.budget().used(), hls.on_air("show")), (0, false));
        stop.cancel();
        following.await.unwrap();
    }
}
