//! A source of playlists and media without a packager: the test says what is the newest segment, and sees who waits.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater::hls::{Media, Refusal, Reload, Rendered};
use headwater::http::Source;
use tokio::sync::watch;

/// Knows one stream, `show`, with one rendition, `video`.
#[derive(Clone, Debug)]
pub(crate) struct Double {
    newest: Arc<watch::Sender<u64>>,
    waiting: Arc<watch::Sender<usize>>,
    bodies: Arc<watch::Sender<usize>>,
}

impl Double {
    pub(crate) fn new() -> Double {
        Double {
            newest: Arc::new(watch::Sender::new(7)),
            waiting: Arc::new(watch::Sender::new(0)),
            bodies: Arc::new(watch::Sender::new(0)),
        }
    }

    /// A segment is there.
    pub(crate) fn publish(&self, msn: u64) {
        self.newest.send_replace(msn);
    }

    /// Until exactly so many requests wait.
    pub(crate) async fn waiting(&self, count: usize) {
        reached(&self.waiting, count, "waiting requests").await;
    }

    /// Until exactly so many bodies of `big.m4s` are being sent.
    pub(crate) async fn bodies(&self, count: usize) {
        reached(&self.bodies, count, "bodies").await;
    }

    async fn hold(&self, msn: u64) {
        let _one = One::more(&self.waiting);
        // The sender lives in `self`.
        let _ = self.newest.subscribe().wait_for(|newest| *newest >= msn).await;
    }
}

impl Source for Double {
    fn still(&self, name: &str) -> Result<Bytes, Refusal> {
        known(name)?;
        Ok(Bytes::from_static(b"\xff\xd8 a picture"))
    }

    async fn multivariant(&self, name: &str, plain: bool) -> Result<Rendered, Refusal> {
        known(name)?;
        Ok(rendered(format!("#EXTM3U\n#plain={plain}\nvideo.m3u8\n")))
    }

    async fn playlist(&self, name: &str, rendition: &str, reload: Reload) -> Result<Rendered, Refusal> {
        known(name)?;
        match rendition {
            "video" => {}
            "later" => {
                return Err(Refusal::NotYet { reason: "no segment yet", retry_after: Duration::from_millis(1500) });
            }
            _ => return Err(Refusal::NotFound("no such rendition")),
        }
        let newest = *self.newest.borrow();
        if let Some(msn) = reload.msn {
            if msn > newest + 2 {
                return Err(Refusal::BadRequest("that segment is too far in the future"));
            }
            self.hold(msn).await;
        }
        let newest = *self.newest.borrow();
        Ok(rendered(format!("#EXTM3U\n#newest={newest} skip={} plain={}\n", reload.skip, reload.plain)))
    }

    async fn media(&self, name: &str, epoch: u64, rendition: &str, file: &str) -> Result<Media, Refusal> {
        known(name)?;
        let chunks: Vec<Bytes> = match (epoch, rendition, file) {
            (1, "video", "7.m4s") => ["part one, ", "part two, ", "part three"].map(Bytes::from_static_str).to_vec(),
            (1, "video", "8.0.m4s") => {
                self.hold(8).await;
                vec![Bytes::from_static(b"hinted")]
            }
            (1, "video", "big.m4s") => {
                let mut chunks = vec![Bytes::from(vec![0; 1 << 20]); 63];
                chunks.push(Bytes::from_owner(Tail { bytes: vec![1; 1 << 20], _one: One::more(&self.bodies) }));
                chunks
            }
            _ => return Err(Refusal::NotFound("no such file")),
        };
        let length = chunks.iter().map(Bytes::len).sum();
        Ok(Media { chunks: chunks.into(), length })
    }
}

trait FromStaticStr {
    fn from_static_str(text: &'static str) -> Bytes;
}

impl FromStaticStr for Bytes {
    fn from_static_str(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }
}

fn known(name: &str) -> Result<(), Refusal> {
    if name == "show" { Ok(()) } else { Err(Refusal::NotFound("no such stream")) }
}

fn rendered(text: String) -> Rendered {
    Rendered::new(text, Duration::from_millis(333))
}

async fn reached(count: &watch::Sender<usize>, wanted: usize, what: &str) {
    let mut count = count.subscribe();
    let reached = tokio::time::timeout(Duration::from_secs(20), count.wait_for(|now| *now == wanted)).await.is_ok();
    if !reached {
        panic!("{} {what}, not {wanted}", *count.borrow());
    }
}

/// One of a count, until dropped.
struct One(Arc<watch::Sender<usize>>);

impl One {
    fn more(count: &Arc<watch::Sender<usize>>) -> One {
        count.send_modify(|count| *count += 1);
        One(count.clone())
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

struct Tail {
    bytes: Vec<u8>,
    _one: One,
}

impl AsRef<[u8]> for Tail {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
