//! A presentation made of values: a small packager and the requests of a viewer, without server, clock or network. It
//! breaks no rule; every knob of [`Scene`] breaks something.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::time::Duration;

use bytes::Bytes;

use super::checker::Observation;

/// Segments of the whole show, each of one second in two parts.
pub(crate) const SEGMENTS: usize = 16;
/// Segments that a playlist lists.
const WINDOW: usize = 10;
/// The segment that follows a discontinuity, with a new init section.
const BREAK: usize = 3;

/// What was asked, for knobs that change texts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) video: bool,
    /// Index of the newest part.
    pub(crate) k: usize,
    pub(crate) delta: bool,
    pub(crate) plain: bool,
    pub(crate) ended: bool,
}

/// One chunk before it becomes bytes.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) sequence: u32,
    pub(crate) track: u32,
    pub(crate) base_is_moof: bool,
    pub(crate) offset_shift: i32,
    pub(crate) mdat_extra: usize,
    pub(crate) decode_time: u64,
    /// Duration, marked sync, really an IDR.
    pub(crate) samples: Vec<(u32, bool, bool)>,
    /// A second track, without samples.
    pub(crate) sound: bool,
}

/// The knobs. The default breaks nothing.
#[derive(Clone, Copy)]
pub(crate) struct Scene {
    pub(crate) chunk: fn(bool, usize, &mut Spec),
    pub(crate) init: fn(bool, Vec<u8>) -> Vec<u8>,
    pub(crate) text: fn(Asked, String) -> String,
    pub(crate) index: fn(String) -> String,
    /// After headers were made; sees every answer.
    pub(crate) answer: fn(&mut Observation),
    /// The whole session, in order.
    pub(crate) session: fn(&mut Vec<Observation>),
}

impl Default for Scene {
    fn default() -> Scene {
        Scene {
            chunk: |_, _, _| {},
            init: |_, bytes| bytes,
            text: |_, text| text,
            index: |text| text,
            answer: |_| {},
            session: |_| {},
        }
    }
}

/// Path of the multivariant playlist.
pub(crate) const INDEX: &str = "/live/x/index.m3u8";

/// When part `k` exists, in milliseconds.
fn exists(k: usize) -> u64 {
    (k as u64 + 1) * 500
}

impl Scene {
    /// The session, in order of arrival.
    pub(crate) fn play(&self) -> Vec<Observation> {
        let mut out = Vec::new();
        let first = exists(1) + 20;
        self.index_answers(&mut out);
        for video in [true, false] {
            let path = playlist_path(video);
            self.playlist(
                &mut out,
                path,
                (first - 5, first),
                Asked { video, k: 1, delta: false, plain: false, ended: false },
                false,
            );
            for k in 0..2 {
                self.media(&mut out, &part_path(video, k), (first + 5, first + 8), self.part(video, k));
            }
            self.media(&mut out, &segment_path(video, 0), (first + 5, first + 9), self.segment(video, 0));
            for n in 0..2 {
                let at = if n == 0 { first + 1 } else { exists(2 * BREAK) + 20 };
                self.media(
                    &mut out,
                    &format!("/live/x/0/{}/init-{n}.mp4", short(video)),
                    (at, at + 1),
                    (self.init)(video, init(video)),
                );
            }
            for k in 2..2 * SEGMENTS {
                self.step(&mut out, video, k);
            }
            self.farewell(&mut out, video);
        }
        for seen in &mut out {
            (self.answer)(seen);
        }
        out.sort_by_key(|o| (o.at, o.url.clone()));
        (self.session)(&mut out);
        out
    }

    fn step(&self, out: &mut Vec<Observation>, video: bool, k: usize) {
        let now = exists(k);
        let (msn, part) = (k / 2, k % 2);
        let asked = Asked { video, k, delta: false, plain: false, ended: false };
        let path = playlist_path(video);
        let url = format!("{path}?_HLS_msn={msn}&_HLS_part={part}");
        self.media(out, &part_path(video, k), (now - 490, now + 2), self.part(video, k));
        self.playlist(out, &url, (now - 480, now + 5), asked, false);
        if k % 4 == 2 {
            let delta = Asked { delta: true, ..asked };
            self.playlist(out, &format!("{url}&_HLS_skip=YES"), (now - 470, now + 6), delta, false);
        }
        if k % 6 == 3 {
            self.playlist(out, &url, (now + 10, now + 12), asked, true);
            self.not_modified(out, &url, (now + 10, now + 13), asked);
        }
        if k % 8 == 5 {
            self.playlist(out, &format!("{path}?ll=0"), (now + 20, now + 22), Asked { plain: true, ..asked }, false);
            self.refuse(out, &format!("{path}?_HLS_msn={}", msn + 1000), now + 30, 400);
            self.refuse(out, &format!("{path}?_HLS_part=0"), now + 31, 400);
        }
        if part == 1 {
            self.media(out, &segment_path(video, msn), (now + 8, now + 10), self.segment(video, msn));
            if msn >= WINDOW {
                self.media(
                    out,
                    &segment_path(video, msn - WINDOW),
                    (now + 400, now + 402),
                    self.segment(video, msn - WINDOW),
                );
            }
        }
    }

    fn farewell(&self, out: &mut Vec<Observation>, video: bool) {
        let k = 2 * SEGMENTS - 1;
        let asked = Asked { video, k, delta: false, plain: false, ended: true };
        let path = playlist_path(video);
        self.playlist(
            out,
            &format!("{path}?_HLS_msn={SEGMENTS}&_HLS_part=0"),
            (exists(k) + 50, exists(k) + 300),
            asked,
            false,
        );
        self.playlist(out, path, (exists(k) + 400, exists(k) + 402), asked, false);
        self.playlist(
            out,
            &format!("{path}?ll=0"),
            (exists(k) + 500, exists(k) + 502),
            Asked { plain: true, ..asked },
            false,
        );
    }

    fn index_answers(&self, out: &mut Vec<Observation>) {
        let rate = |video: bool| (0..SEGMENTS).map(|m| self.segment(video, m).len() * 8).max().unwrap();
        let peak = rate(true) + rate(false);
        let text = format!(
            "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-INDEPENDENT-SEGMENTS\n\
             #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"sound\",NAME=\"Sound\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\",URI=\"audio.m3u8\"\n\
             #EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={peak},CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=320x180,\
             FRAME-RATE=20.000,AUDIO=\"sound\"\nvideo.m3u8\n",
            peak * 11 / 10,
        );
        let plain = text.replace(".m3u8", ".m3u8?ll=0");
        for (url, text, at) in [(INDEX, &text, 1010), (INDEX, &text, 9010), ("/live/x/index.m3u8?ll=0", &plain, 9020)] {
            let body = (self.index)(text.clone());
            out.push(answer(url, (at, at + 2), 200, "application/vnd.apple.mpegurl", "max-age=1", body.into_bytes()));
        }
    }

    fn playlist(&self, out: &mut Vec<Observation>, url: &str, at: (u64, u64), asked: Asked, gzip: bool) {
        let text = (self.text)(asked, render(asked, RIGHT));
        let mut body = text.into_bytes();
        if gzip {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            packer.write_all(&body).unwrap();
            body = packer.finish().unwrap();
        }
        let mut seen = answer(url, at, 200, "application/vnd.apple.mpegurl", "max-age=1", body);
        if gzip {
            seen.headers.push(("content-encoding".into(), "gzip".into()));
            seen.request.push(("accept-encoding".into(), "gzip".into()));
        }
        out.push(seen);
    }

    fn not_modified(&self, out: &mut Vec<Observation>, url: &str, at: (u64, u64), asked: Asked) {
        self.playlist(out, url, at, asked, false);
        let seen = out.last_mut().unwrap();
        let etag = seen.header("etag").unwrap().to_owned();
        seen.request.push(("if-none-match".into(), etag));
        seen.status = 304;
        seen.body = Bytes::new();
    }

    fn refuse(&self, out: &mut Vec<Observation>, url: &str, at: u64, status: u16) {
        out.push(answer(url, (at, at + 1), status, "text/plain", "no-store", b"no".to_vec()));
    }

    fn media(&self, out: &mut Vec<Observation>, url: &str, at: (u64, u64), bytes: Vec<u8>) {
        out.push(answer(url, at, 200, "video/mp4", "public, max-age=31536000, immutable", bytes));
    }

    fn segment(&self, video: bool, msn: usize) -> Vec<u8> {
        [self.part(video, 2 * msn), self.part(video, 2 * msn + 1)].concat()
    }

    fn part(&self, video: bool, k: usize) -> Vec<u8> {
        let (count, duration) = if video { (10, 4500) } else { (25, 960) };
        let starts = |i: usize| !video || (k.is_multiple_of(2) && i == 0);
        let mut spec = Spec {
            sequence: k as u32 + 1,
            track: 1,
            base_is_moof: true,
            offset_shift: 0,
            mdat_extra: 0,
            decode_time: (k * count) as u64 * u64::from(duration),
            samples: (0..count).map(|i| (duration, starts(i), starts(i))).collect(),
            sound: false,
        };
        (self.chunk)(video, k, &mut spec);
        spec.bytes(video)
    }
}

fn short(video: bool) -> &'static str {
    if video { "v" } else { "a" }
}

fn playlist_path(video: bool) -> &'static str {
    if video { "/live/x/video.m3u8" } else { "/live/x/audio.m3u8" }
}

fn part_path(video: bool, k: usize) -> String {
    format!("/live/x/0/{}/{}.{}.m4s", short(video), k / 2, k % 2)
}

fn segment_path(video: bool, msn: usize) -> String {
    format!("/live/x/0/{}/{msn}.m4s", short(video))
}

fn answer(url: &str, at: (u64, u64), status: u16, kind: &str, caching: &str, body: Vec<u8>) -> Observation {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let headers = BTreeMap::from([
        ("access-control-allow-origin", "*".to_owned()),
        ("cache-control", caching.to_owned()),
        ("content-length", body.len().to_string()),
        ("content-type", kind.to_owned()),
        ("etag", format!("\"{:x}\"", hasher.finish())),
        ("vary", "accept-encoding".to_owned()),
    ]);
    Observation {
        asked: Duration::from_millis(at.0),
        at: Duration::from_millis(at.1),
        url: url.to_owned(),
        request: vec![("origin".into(), "https://example.org".into())],
        status,
        headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        body: body.into(),
    }
}

/// How a playlist is laid out, where a case wants it otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// The first segment listed.
    pub(crate) first: Option<usize>,
    /// Newest segments that are listed with parts.
    pub(crate) parts: usize,
    /// Segments that a delta playlist skips beyond its boundary.
    pub(crate) more_skipped: usize,
}

/// What is right.
pub(crate) const RIGHT: Layout = Layout { first: None, parts: 4, more_skipped: 0 };

/// Segments that are complete when part `k` is the newest.
pub(crate) fn complete(k: usize) -> usize {
    k.div_ceil(2)
}

/// The playlist in which part `k` is the newest.
pub(crate) fn render(asked: Asked, layout: Layout) -> String {
    let Asked { video, k, delta, plain, ended } = asked;
    let complete = complete(k);
    let open = if plain { 0 } else { (k + 1) % 2 };
    let first = layout.first.unwrap_or(complete.saturating_sub(WINDOW));
    let mut out = String::from("#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-TARGETDURATION:1\n");
    if !plain {
        out += "#EXT-X-PART-INF:PART-TARGET=0.50000\n";
        out += "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=6.0,PART-HOLD-BACK=1.5\n";
    }
    let broken = usize::from(first > BREAK);
    out += &format!("#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-DISCONTINUITY-SEQUENCE:{broken}\n");
    let skipped = if delta { (complete - first).saturating_sub(6) + layout.more_skipped } else { 0 };
    if skipped > 0 {
        out += &format!("#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}\n");
    }
    for msn in first + skipped..=complete {
        let parts = if msn < complete { 2 } else { open };
        if msn == complete && open == 0 {
            continue;
        }
        if msn == BREAK {
            out += "#EXT-X-DISCONTINUITY\n";
        }
        if msn == first || msn == BREAK {
            let n = usize::from(msn >= BREAK);
            out += &format!("#EXT-X-MAP:URI=\"0/{}/init-{n}.mp4\"\n", short(video));
        }
        out += &format!("#EXT-X-PROGRAM-DATE-TIME:2030-01-01T00:00:{msn:02}.000Z\n");
        for part in 0..parts {
            let independent = if part == 0 || !video { ",INDEPENDENT=YES" } else { "" };
            if !plain && msn + layout.parts > complete {
                out +=
                    &format!("#EXT-X-PART:DURATION=0.50000,URI=\"0/{}/{msn}.{part}.m4s\"{independent}\n", short(video));
            }
        }
        if msn < complete {
            out += &format!("#EXTINF:1.00000,\n0/{}/{msn}.m4s\n", short(video));
        }
    }
    if ended {
        return out + "#EXT-X-ENDLIST\n";
    }
    if !plain {
        let (next, other) = (k + 1, if video { "audio" } else { "video" });
        out += &format!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"0/{}/{}.{}.m4s\"\n", short(video), next / 2, next % 2);
        out += &format!("#EXT-X-RENDITION-REPORT:URI=\"{other}.m3u8\",LAST-MSN={},LAST-PART={}\n", k / 2, k % 2);
    }
    out
}

impl Spec {
    fn bytes(&self, video: bool) -> Vec<u8> {
        let moof = self.moof(video, 0);
        let moof = self.moof(video, (moof.len() as i32 + 8) + self.offset_shift);
        let mut data = Vec::new();
        for (_, _, idr) in &self.samples {
            data.extend(sample(video, *idr));
        }
        data.resize(data.len() + self.mdat_extra, 0);
        [moof, mp4("mdat", &data)].concat()
    }

    fn moof(&self, video: bool, data_offset: i32) -> Vec<u8> {
        let flags: u32 = if self.base_is_moof { 0x2_0000 } else { 0 };
        let mut trun = [word(0x701), word(self.samples.len() as u32), word(data_offset as u32)].concat();
        for (duration, sync, idr) in &self.samples {
            let size = sample(video, *idr).len() as u32;
            let flags = if *sync { 0x0200_0000 } else { 0x0101_0000 };
            trun.extend([word(*duration), word(size), word(flags)].concat());
        }
        let tfdt = [word(0x0100_0000), self.decode_time.to_be_bytes().to_vec()].concat();
        let tfhd = [word(flags), word(self.track)].concat();
        let traf = [mp4("tfhd", &tfhd), mp4("tfdt", &tfdt), mp4("trun", &trun)].concat();
        let mfhd = mp4("mfhd", &[word(0), word(self.sequence)].concat());
        let mut trafs = mp4("traf", &traf);
        if self.sound {
            let trun = [word(0x701), word(0), word(data_offset as u32)].concat();
            let tfhd = [word(flags), word(self.track + 1)].concat();
            trafs.extend(mp4("traf", &[mp4("tfhd", &tfhd), mp4("tfdt", &tfdt), mp4("trun", &trun)].concat()));
        }
        mp4("moof", &[mfhd, trafs].concat())
    }
}

fn sample(video: bool, idr: bool) -> Vec<u8> {
    if !video {
        return vec![0x21; 20];
    }
    let nal = if idr { 0x65 } else { 0x41 };
    [word(60), vec![nal; 60]].concat()
}

fn word(value: u32) -> Vec<u8> {
    value.to_be_bytes().to_vec()
}

/// A box.
pub(crate) fn mp4(kind: &str, body: &[u8]) -> Vec<u8> {
    [word(body.len() as u32 + 8), kind.as_bytes().to_vec(), body.to_vec()].concat()
}

fn init(video: bool) -> Vec<u8> {
    let zeros = |n: usize| vec![0u8; n];
    let scale = if video { 90_000 } else { 48_000 };
    let handler = if video { b"vide" } else { b"soun" };
    let entry = if video {
        let avcc = mp4("avcC", &[1, 0x64, 0, 0x1f, 0xff, 0xe0, 0]);
        mp4("avc1", &[zeros(24), vec![1, 64, 0, 180], zeros(50), avcc].concat())
    } else {
        let config = [5, 2, 0x11, 0x90];
        let decoder = [vec![4, 17, 0x40], zeros(12), config.to_vec()].concat();
        let esds = [zeros(4), vec![3, 22, 0, 1, 0], decoder].concat();
        mp4("mp4a", &[zeros(16), vec![0, 2, 0, 16, 0, 0, 0, 0], word(48_000 << 16), mp4("esds", &esds)].concat())
    };
    let stsd = mp4("stsd", &[word(0), word(1), entry].concat());
    let stbl = [stsd, mp4("stts", &zeros(8)), mp4("stsc", &zeros(8)), mp4("stsz", &zeros(12)), mp4("stco", &zeros(8))];
    let minf = mp4("minf", &mp4("stbl", &stbl.concat()));
    let mdhd = mp4("mdhd", &[zeros(12), word(scale), zeros(8)].concat());
    let hdlr = mp4("hdlr", &[zeros(8), handler.to_vec(), zeros(13)].concat());
    let tkhd = mp4("tkhd", &[zeros(12), word(1), zeros(68)].concat());
    let trak = mp4("trak", &[tkhd, mp4("mdia", &[mdhd, hdlr, minf].concat())].concat());
    let trex = mp4("trex", &[zeros(4), word(1), word(1), zeros(12)].concat());
    let moov = mp4("moov", &[mp4("mvhd", &zeros(100)), trak, mp4("mvex", &trex)].concat());
    [mp4("ftyp", b"iso6\0\0\0\0iso6cmfc"), moov].concat()
}
