//! A picture of a live stream, for posters and the operator: its newest key frame, decoded in the [`Lab`].

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::lab::Lab;
use super::wire::{FromWorker, StillOrder, ToWorker};
use crate::hub::{From, Stream};
use crate::media::{Frame, Kind};
use crate::metrics::{STILLS_FAILED, STILLS_TIME};

/// Makes one, at most so wide; without a key frame, or of one that cannot be decoded, none.
pub(super) async fn take(lab: &mut Lab, stream: &Stream, width: u32) {
    let Some(frame) = newest_key_frame(stream).await else { return };
    let asked = Instant::now();
    let order =
        |id| ToWorker::Still(StillOrder { id, config: (*frame.config).clone(), payload: frame.payload.clone(), width });
    let read = |message| match message {
        FromWorker::Still(still) => Some((still.id, still.jpeg)),
        _ => None,
    };
    let answer = lab.ask(stream.epoch(), order, read).await;
    metrics::histogram!(STILLS_TIME).record(asked.elapsed().as_secs_f64());
    match answer {
        Some(jpeg) if jpeg.is_empty() => {}
        Some(jpeg) => stream.set_still(jpeg),
        None => metrics::counter!(STILLS_FAILED).increment(1),
    }
}

/// None: the stream has none, or is over.
async fn newest_key_frame(stream: &Stream) -> Option<Frame> {
    let mut cursor = stream.frames().cursor(From::NewestStart);
    let found = async {
        loop {
            let frame = cursor.next().await.ok()??;
            if frame.kind() == Kind::Video && frame.key {
                return Some(frame);
            }
        }
    };
    timeout(AT_HAND, found).await.ok()?
}

/// The newest start is in the log, if there is any; a log without pictures is not waited for.
const AT_HAND: Duration = Duration::from_millis(50);
