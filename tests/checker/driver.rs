//! Feeds a checker from a live URL, as the strictest of clients: blocking reloads of every rendition, pairs of full and
//! delta, of plain and gzip answers, conditional requests, the ordinary view, senseless directives, every init section,
//! hinted part, listed part, segment and removed segment. Judges nothing itself.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::http::{Answer, Client};
use super::playlist::{Media, Multivariant, Tip};
use super::{Checker, Observation, resolve, resolved};

/// A watch over one presentation.
#[derive(Clone)]
pub struct Watch {
    client: Arc<Client>,
    index: String,
    start: Instant,
    checker: Arc<Mutex<Checker>>,
    stop: watch::Receiver<bool>,
    tell: Arc<watch::Sender<bool>>,
    kept: Arc<Mutex<Kept>>,
}

/// Bodies that are kept for a decoder: init sections by path, and the segments of each rendition with their init.
#[derive(Debug, Default)]
pub struct Kept {
    inits: HashMap<String, Bytes>,
    segments: Vec<(usize, u64, String, Bytes)>,
}

/// What a finished watch found.
pub struct Outcome {
    pub checker: Checker,
    pub kept: Kept,
}

/// Requests that may be under way for one rendition; more are waited for.
const UNDER_WAY: usize = 32;

/// How long answers still under way are waited for when a watch stops.
const FAREWELL: Duration = Duration::from_secs(5);

impl Watch {
    /// Starts to watch the multivariant playlist at path `index` of `address`; ends by [`Watch::stop`] or with the
    /// stream.
    pub fn start(address: &str, index: &str) -> (Watch, tokio::task::JoinHandle<Outcome>) {
        let (tell, stop) = watch::channel(false);
        let watch = Watch {
            client: Arc::new(Client::new(address)),
            index: index.to_owned(),
            start: Instant::now(),
            checker: Arc::new(Mutex::new(Checker::new(index))),
            stop,
            tell: Arc::new(tell),
            kept: Arc::default(),
        };
        let task = tokio::spawn(watch.clone().run());
        (watch, task)
    }

    /// Ends the watch.
    pub fn stop(&self) {
        self.tell.send_replace(true);
    }

    /// Violations so far.
    pub fn broken(&self) -> usize {
        self.checker.lock().unwrap().ledger().violations().len()
    }

    async fn run(self) -> Outcome {
        let mut tasks = JoinSet::new();
        let mut known = HashSet::new();
        let mut ended = false;
        let mut round = 0u32;
        let mut stop = self.stop.clone();
        while !ended && !*self.stop.borrow() {
            let plain = round % 5 == 4;
            let url = if plain { format!("{}?ll=0", self.index) } else { self.index.clone() };
            let gzip = round % 2 == 1;
            let answer = self.ask(&url, gzip, None).await;
            round += 1;
            for (index, path) in renditions(&self.index, answer.as_ref()).into_iter().enumerate() {
                if known.insert(path.clone()) {
                    tasks.spawn(Reader::new(self.clone(), index, path).run());
                }
            }
            // A multivariant playlist tells little that is new: soon at the start, then once in a while.
            let pause = if known.is_empty() { Duration::from_millis(100) } else { Duration::from_secs(3) };
            tokio::select! {
                _ = tokio::time::sleep(pause) => {}
                _ = stop.wait_for(|stop| *stop) => {}
                done = tasks.join_next(), if !tasks.is_empty() => ended = done.is_some() && tasks.is_empty(),
            }
        }
        while tasks.join_next().await.is_some() {}
        let _ = self.ask(&self.index, false, None).await;
        let mut checker = std::mem::take(&mut *self.checker.lock().unwrap());
        checker.finish();
        let kept = std::mem::take(&mut *self.kept.lock().unwrap());
        Outcome { checker, kept }
    }

    /// One request and its answer, told to the checker.
    async fn ask(&self, url: &str, gzip: bool, etag: Option<String>) -> Option<Answer> {
        let mut headers = vec![("origin".to_owned(), "https://example.org".to_owned())];
        if gzip {
            headers.push(("accept-encoding".to_owned(), "gzip".to_owned()));
        }
        if let Some(etag) = etag {
            headers.push(("if-none-match".to_owned(), etag));
        }
        let answer = self.client.get_with(url, &headers).await.ok()?;
        let seen = Observation {
            asked: answer.asked - self.start,
            at: answer.at - self.start,
            url: url.to_owned(),
            request: headers,
            status: answer.status,
            headers: answer.headers.clone(),
            body: answer.body.clone(),
        };
        self.checker.lock().unwrap().observe(seen);
        Some(answer)
    }
}

fn renditions(index: &str, answer: Option<&Answer>) -> Vec<String> {
    let Some(answer) = answer.filter(|a| a.status == 200) else { return Vec::new() };
    if answer.header("content-encoding").is_some() {
        return Vec::new();
    }
    let list = Multivariant::parse(&answer.text());
    let variants = list.variants.iter().map(|(_, uri)| uri.clone());
    let media = list.media.iter().filter_map(|m| m.quoted("URI"));
    let mut paths: Vec<String> = variants.chain(media).map(|uri| resolve(index, &uri)).collect();
    let mut once = HashSet::new();
    paths.retain(|path| once.insert(path.clone()));
    paths
}

/// What of an answer is kept for the decoder.
enum Keep {
    Init,
    /// Its number and init section.
    Segment(u64, String),
    Nothing,
}

/// Follows one media playlist.
struct Reader {
    watch: Watch,
    index: usize,
    path: String,
    /// Paths that were asked for.
    asked: HashSet<String>,
    fetches: JoinSet<()>,
    /// Segments in the window: number, path, length.
    listed: Vec<(u64, String, Duration)>,
    longest: Duration,
    /// Counts reloads, to take the kinds of requests in turn.
    round: u64,
}

impl Reader {
    fn new(watch: Watch, index: usize, path: String) -> Reader {
        Reader {
            watch,
            index,
            path,
            asked: HashSet::new(),
            fetches: JoinSet::new(),
            listed: Vec::new(),
            longest: Duration::ZERO,
            round: 0,
        }
    }

    async fn run(mut self) {
        let mut stop = self.watch.stop.clone();
        let path = self.path.clone();
        let mut media = self.take(self.watch.ask(&path, false, None).await);
        loop {
            if *stop.borrow() || media.as_ref().is_some_and(|m| m.ended) {
                break;
            }
            self.round += 1;
            let tip = media.as_ref().map(Media::tip);
            media = tokio::select! {
                next = self.reload(tip) => next,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            if media.is_none() {
                // Refused: the answer says when to come again; a second is what the server's texts say at most.
                tokio::select! {
                    _ = tokio::time::sleep(Duration::from_millis(200)) => {}
                    _ = stop.wait_for(|stop| *stop) => break,
                }
                media = self.take(self.watch.ask(&path, false, None).await);
            }
        }
        if media.is_some_and(|m| m.ended) {
            self.after_end().await;
        }
        let rest = async { while self.fetches.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(FAREWELL, rest).await;
    }

    /// Once more everything that must not change any more.
    async fn after_end(&mut self) {
        let path = self.path.clone();
        for url in [path.clone(), format!("{path}?ll=0"), path] {
            let answer = self.watch.ask(&url, false, None).await;
            self.take(answer);
        }
    }

    /// The next blocking reload, in turn alone or with a second request of another kind.
    async fn reload(&mut self, tip: Option<Tip>) -> Option<Media> {
        let path = self.path.clone();
        let Some(tip) = tip else {
            let answer = self.watch.ask(&path, false, None).await;
            return self.take(answer);
        };
        let url = format!("{path}?_HLS_msn={}&_HLS_part={}", tip.msn, tip.parts);
        let delta = format!("{url}&_HLS_skip=YES");
        let watch = self.watch.clone();
        let answer = match self.round % 16 {
            2 | 6 | 10 | 14 => {
                let (full, skipping) = tokio::join!(watch.ask(&url, false, None), watch.ask(&delta, false, None));
                self.take(skipping);
                full
            }
            4 | 12 => {
                let (full, packed) = tokio::join!(watch.ask(&url, false, None), watch.ask(&url, true, None));
                drop(packed);
                full
            }
            5 => {
                let whole = format!("{path}?_HLS_msn={}", tip.msn);
                watch.ask(&whole, false, None).await
            }
            7 => {
                let full = watch.ask(&url, false, None).await;
                let etag = full.as_ref().and_then(|a| a.header("etag")).map(str::to_owned);
                watch.ask(&url, false, etag).await;
                full
            }
            9 => {
                let plain = format!("{path}?ll=0");
                watch.ask(&plain, self.round % 32 == 9, None).await;
                watch.ask(&url, false, None).await
            }
            11 => {
                watch.ask(&format!("{path}?_HLS_msn={}", tip.msn + 1000), false, None).await;
                watch.ask(&format!("{path}?_HLS_part=0"), false, None).await;
                watch.ask(&url, false, None).await
            }
            13 => {
                watch.ask(&path, false, None).await;
                watch.ask(&url, false, None).await
            }
            _ => watch.ask(&url, false, None).await,
        };
        self.take(answer)
    }

    /// Reads a playlist and starts to fetch what is new in it.
    fn take(&mut self, answer: Option<Answer>) -> Option<Media> {
        let answer = answer.filter(|a| a.status == 200 && a.header("content-encoding").is_none())?;
        let media = resolved(&self.path, Media::parse(&answer.text()));
        let maps = media.segments.iter().chain([&media.open]).filter_map(|s| s.map.clone());
        for map in maps.collect::<Vec<_>>() {
            self.fetch(map, Keep::Init);
        }
        for segment in media.all().filter(|s| !s.gap) {
            for part in &segment.parts {
                self.fetch(part.uri.clone(), Keep::Nothing);
            }
            if !segment.uri.is_empty() {
                let map = segment.map.clone().unwrap_or_default();
                self.fetch(segment.uri.clone(), Keep::Segment(segment.msn, map));
            }
        }
        for hint in &media.hints {
            self.fetch(hint.uri.clone(), Keep::Nothing);
        }
        self.note_removed(&media);
        Some(media)
    }

    /// Segments that left the playlist are asked for once more, late in the time that they must stay.
    fn note_removed(&mut self, media: &Media) {
        self.longest = self.longest.max(Duration::from_nanos(media.length().unsigned_abs()));
        let first = media.sequence.unwrap_or(0);
        let gone: Vec<_> = self.listed.iter().filter(|(msn, ..)| *msn < first).cloned().collect();
        self.listed.retain(|(msn, ..)| *msn >= first);
        for (_, path, length) in gone {
            let watch = self.watch.clone();
            let pause = (length + self.longest).mul_f64(0.8);
            let mut stop = watch.stop.clone();
            self.fetches.spawn(async move {
                tokio::select! {
                    _ = tokio::time::sleep(pause) => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                }
                watch.ask(&path, false, None).await;
            });
        }
        let last = self.listed.last().map(|(msn, ..)| *msn);
        for segment in media.segments.iter().filter(|s| last.is_none_or(|last| s.msn > last)) {
            let length = Duration::from_nanos(segment.duration.unsigned_abs());
            self.listed.push((segment.msn, segment.uri.clone(), length));
        }
    }

    /// Fetches a path once; segments are kept for the decoder.
    fn fetch(&mut self, path: String, keep: Keep) {
        if self.fetches.len() > UNDER_WAY * 8 || !self.asked.insert(path.clone()) {
            return;
        }
        while self.fetches.try_join_next().is_some() {}
        let watch = self.watch.clone();
        let index = self.index;
        let again = self.asked.len().is_multiple_of(50);
        self.fetches.spawn(async move {
            let Some(answer) = watch.ask(&path, false, None).await.filter(|a| a.status == 200) else { return };
            if let Ok(mut kept) = watch.kept.lock() {
                match keep {
                    Keep::Segment(msn, map) => kept.segments.push((index, msn, map, answer.body.clone())),
                    Keep::Init => drop(kept.inits.insert(path.clone(), answer.body.clone())),
                    Keep::Nothing => {}
                }
            }
            if again {
                let etag = answer.header("etag").map(str::to_owned);
                watch.ask(&path, false, etag).await;
            }
        });
    }
}

impl Outcome {
    /// Panics with everything that was broken; prints the table of rules first.
    pub fn assert_clean(&self, what: &str) {
        let ledger = self.checker.ledger();
        eprintln!("--- {what}\n{}", ledger.table());
        for (path, listed, measured) in self.checker.coverage() {
            eprintln!("{path}: {measured} of {listed} segments measured");
        }
        let broken: Vec<String> = ledger.violations().iter().map(ToString::to_string).collect();
        assert!(broken.is_empty(), "{what}: {} violations\n{}", broken.len(), broken.join("\n"));
        for (path, listed, measured) in self.checker.coverage() {
            assert!(measured + 2 >= listed && measured > 0, "{path}: {measured} of {listed} segments were measured");
        }
    }

    /// Files that a decoder can read: for each rendition and init section, the init section and all its segments.
    pub fn write(&self, folder: &Path) -> Vec<std::path::PathBuf> {
        let mut files: HashMap<(usize, String), Vec<(u64, Bytes)>> = HashMap::new();
        for (rendition, msn, map, bytes) in &self.kept.segments {
            files.entry((*rendition, map.clone())).or_default().push((*msn, bytes.clone()));
        }
        let mut out = Vec::new();
        for ((rendition, map), mut segments) in files {
            segments.sort_by_key(|(msn, _)| *msn);
            let Some(init) = self.kept.inits.get(&map) else { continue };
            let mut data = init.to_vec();
            for (_, bytes) in segments {
                data.extend_from_slice(&bytes);
            }
            let file = folder.join(format!("{rendition}-{}", map.rsplit('/').next().unwrap_or("init")));
            std::fs::write(&file, data).unwrap();
            out.push(file);
        }
        out
    }
}
