//! One viewer: finds its renditions in the multivariant playlist and follows them, on four HTTP/1.1 connections (a
//! playlist that is being held and a part, for pictures and for sound; a browser allows six) or on one of HTTP/2.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::follow::{Context, Follow, Join};
use crate::http::{Keep, Link, Links};
use crate::playlist::{self, Multivariant};

/// Plays until the stream ends; the caller drops it when the run is over.
pub(crate) async fn play(context: Rc<Context>) {
    let started = Instant::now();
    let links = Links::new(context.origin.clone());
    let mut first = links.link();
    let renditions = loop {
        if let Some(found) = renditions(&context, &mut first).await {
            break found;
        }
        tokio::time::sleep(RETRY).await;
    };
    let join = Rc::new(Join { started, missing: Cell::new(renditions.len()) });
    let mut lane = Some(first);
    let mut follow = |(rendition, path): (usize, String)| Follow {
        context: context.clone(),
        join: join.clone(),
        rendition,
        path,
        reload: lane.take().unwrap_or_else(|| links.link()),
        media: links.link(),
    };
    let mut renditions = renditions.into_iter().enumerate().map(|each| follow(each).run());
    match (renditions.next(), renditions.next()) {
        (Some(main), Some(audio)) => {
            tokio::join!(main, audio);
        }
        (Some(main), None) => main.await,
        _ => {}
    }
}

/// Paths of the main media playlist and, if there is one, that of its audio. A URL may also lead to a media playlist.
async fn renditions(context: &Context, link: &mut Link) -> Option<Vec<String>> {
    let target = &context.origin.target;
    let mut text = Vec::new();
    context.get(link, &target.path, Keep::Text(&mut text)).await.ok()?;
    let text = std::str::from_utf8(&text).ok()?;
    if text.contains("\n#EXTINF:") {
        return Some(vec![target.path.clone()]);
    }
    let Multivariant { main, audio } = playlist::multivariant(text);
    let path = |uri: String| playlist::resolve(&target.path, &uri, &target.authority);
    let main = path(main?)?;
    let audio = audio.and_then(path);
    Some(std::iter::once(main).chain(audio).collect())
}

/// Wait before asking again for a stream that is not on air.
const RETRY: Duration = Duration::from_millis(500);
