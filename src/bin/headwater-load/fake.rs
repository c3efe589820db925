//! An LL-HLS stream for tests: a show of a few segments, the next part of which appears as soon as somebody waits for it, so that
//! no test waits for a clock. Counts who asked for what.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Parts in a segment.
pub(crate) const PARTS: u64 = 4;

/// One that runs until it is dropped.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    show: Arc<Show>,
    /// Ends the server's thread.
    _alive: std::sync::mpsc::SyncSender<()>,
}

struct Show {
    /// Parts that exist.
    made: watch::Sender<u64>,
    total: u64,
    asked: Mutex<BTreeMap<String, u64>>,
}

impl Fake {
    /// A show of `total` parts, `first` of which exist at the start.
    pub(crate) fn start(first: u64, total: u64) -> Fake {
        let (made, _) = watch::channel(first);
        let show = Arc::new(Show { made, total, asked: Mutex::default() });
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let (alive, dead) = std::sync::mpsc::sync_channel::<()>(1);
        let serving = show.clone();
        std::thread::spawn(move || {
            crate::runtime().unwrap().block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                let gone = tokio::task::spawn_blocking(move || dead.recv());
                tokio::select! {
                    () = accept(listener, serving) => {}
                    _ = gone => {}
                }
            });
        });
        Fake { address: told.recv().unwrap(), show, _alive: alive }
    }

    /// How often each path was asked for, without query.
    pub(crate) fn asked(&self) -> BTreeMap<String, u64> {
        self.show.asked.lock().unwrap().clone()
    }
}

async fn accept(listener: TcpListener, show: Arc<Show>) {
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let show = show.clone();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| answer(show.clone(), request));
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(tcp), service).await;
        });
    }
}

async fn answer(show: Arc<Show>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    *show.asked.lock().unwrap().entry(path.clone()).or_default() += 1;
    let body = match path.rsplit('/').next().unwrap() {
        "index.m3u8" => "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"a\",URI=\"a.m3u8\"\n\
            #EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"a\"\nv.m3u8\n"
            .to_owned(),
        "v.m3u8" | "a.m3u8" => {
            let wanted = |key: &str| {
                let pairs = request.uri().query()?.split('&');
                pairs.filter_map(|pair| pair.split_once('=')).find(|(k, _)| *k == key)?.1.parse::<u64>().ok()
            };
            if let Some(msn) = wanted("_HLS_msn") {
                show.make(msn * PARTS + wanted("_HLS_part").unwrap_or(PARTS - 1)).await;
            }
            show.playlist()
        }
        name if name.starts_with("init") => "init".to_owned(),
        name => {
            let mut numbers = name.split('.');
            let (msn, part) = (numbers.next().unwrap(), numbers.next().unwrap());
            show.make(msn.parse::<u64>().unwrap() * PARTS + part.parse::<u64>().unwrap()).await;
            "media".to_owned()
        }
    };
    Ok(Response::new(Full::from(body)))
}

impl Show {
    /// Returns once the part with this number exists, or the show is over.
    async fn make(&self, number: u64) {
        tokio::task::yield_now().await;
        self.made.send_if_modified(|made| {
            let next = number == *made && *made < self.total;
            *made += u64::from(next);
            next
        });
        let mut made = self.made.subscribe();
        made.wait_for(|made| *made > number || *made == self.total).await.unwrap();
    }

    fn playlist(&self) -> String {
        let made = *self.made.borrow();
        let mut text = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-PART-INF:PART-TARGET=0.25\n\
            #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.75\n\
            #EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-MAP:URI=\"init-0.mp4\"\n"
            .to_owned();
        for part in 0..made {
            let (msn, index) = (part / PARTS, part % PARTS);
            let independent = if index == 0 { ",INDEPENDENT=YES" } else { "" };
            writeln!(text, "#EXT-X-PART:DURATION=0.25,URI=\"{msn}.{index}.m4s\"{independent}").unwrap();
            if index == PARTS - 1 {
                writeln!(text, "#EXTINF:1.0,\n{msn}.m4s").unwrap();
            }
        }
        match made {
            made if made == self.total => text += "#EXT-X-ENDLIST\n",
            made => {
                writeln!(text, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{}.{}.m4s\"", made / PARTS, made % PARTS).unwrap();
            }
        }
        text
    }
}
