//! A rung that the publisher sends itself: pictures of a simulcast layer, held back until the source is as far, so that what
//! begins a segment of the source begins one here. Owned by the rung's entry; never asks for anything to be made.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::hub::{Cursor, From, Layer};
use crate::media::{Config, Frame, Time};

/// The layer, and how far it has been read.
pub(super) struct Layered {
    layer: Arc<Layer>,
    cursor: Option<Cursor<Frame>>,
    next: Option<Frame>,
    /// Of the last picture that was given out.
    config: Option<Arc<Config>>,
    /// Segments in a row that it had no key frame for, and whether it waits for one.
    strays: u32,
    waits: bool,
}

impl Layered {
    pub(super) fn new(layer: Arc<Layer>) -> Layered {
        Layered { layer, cursor: None, next: None, config: None, strays: 0, waits: false }
    }

    pub(super) fn layer(&self) -> &Layer {
        &self.layer
    }

    /// Its pictures are wanted, from the oldest that are there.
    pub(super) fn begin(&mut self) {
        self.cursor = Some(self.layer.frames().cursor(From::Oldest));
        (self.next, self.config, self.strays, self.waits) = (None, None, 0, false);
    }

    /// They are wanted no longer.
    pub(super) fn stop(&mut self) {
        (self.cursor, self.next) = (None, None);
    }

    /// A picture comes, which may be a key frame, and may be `due` to begin a segment. How many segments in a row had none.
    pub(super) fn see(&mut self, key: bool, due: bool) -> u32 {
        if due && !key && !std::mem::replace(&mut self.waits, true) {
            self.strays += 1;
        } else if key {
            self.strays = if self.waits { self.strays } else { 0 };
            self.waits = false;
        }
        self.strays
    }

    /// The next picture that is not shown later than `newest`, and its configuration where that is another than before.
    pub(super) fn due(&mut self, newest: Time) -> Option<(Frame, Option<Arc<Config>>)> {
        let cursor = self.cursor.as_mut()?;
        let mut context = Context::from_waker(Waker::noop());
        while self.next.is_none() {
            match cursor.poll_next(&mut context) {
                Poll::Ready(Ok(Some(frame))) => self.next = Some(frame),
                Poll::Ready(Ok(None)) | Poll::Pending => return None,
                Poll::Ready(Err(_)) => {
                    cursor.skip_to_newest_start();
                }
            }
        }
        let frame = self.next.take_if(|frame| frame.pts <= newest + ALMOST)?;
        let same = self.config.as_ref().is_some_and(|known| Arc::ptr_eq(known, &frame.config));
        let config = (!same).then(|| frame.config.clone());
        self.config = Some(frame.config.clone());
        Some((frame, config))
    }
}

/// Layers of one picture differ by the rounding of their clocks.
pub(super) const ALMOST: Time = Time::from_millis(12);

#[cfg(test)]
#[path = "layered_tests.rs"]
mod tests;
