//! Follows single parts of a stream's leading track for `traces`: which frames went into a part, and what its address will
//! be. Used by the presentation, and only where traces are on.

use super::packager::Packaged;
use super::segmenter::Output;
use crate::hub::Stream;
use crate::media::{Frame, Kind, Time};
use crate::traces;

/// Where the leading track is.
#[derive(Debug)]
pub(super) struct Trail {
    epoch: u64,
    /// The track, as soon as it is known: the pictures, or sound alone.
    lead: Option<Kind>,
    /// Of the first frame of the open part, and of the newest.
    first: Option<Time>,
    newest: Option<Time>,
    msn: u64,
    part: u64,
}

impl Trail {
    /// None where traces are off.
    pub(super) fn begin(epoch: u64) -> Option<Trail> {
        traces::is_on().then_some(Trail { epoch, lead: None, first: None, newest: None, msn: 0, part: 0 })
    }

    /// The next frame of the stream.
    pub(super) fn frame(&mut self, frame: &Frame) {
        if self.lead.is_none_or(|lead| lead == frame.kind()) {
            self.first.get_or_insert(frame.dts);
            self.newest = Some(frame.dts);
        }
    }

    /// What is about to be published; the address of a part in it that is followed. `name`: of the leading rendition.
    pub(super) fn about_to_publish(
        &mut self,
        packaged: &[Packaged],
        stream: &Stream,
        name: impl Fn(Kind) -> &'static str,
    ) -> Option<String> {
        let (mut followed, mut complete) = (None, false);
        for item in packaged {
            match item {
                Packaged::Open(plan) => {
                    self.lead = Some(if plan.video { Kind::Video } else { Kind::Audio });
                    // What was held until now belongs to parts that nobody waited for.
                    self.first = None;
                }
                Packaged::Track(kind, _) if Some(*kind) != self.lead => {}
                Packaged::Track(_, Output::Begin { cut, .. }) => (self.msn, self.part) = (cut.msn, 0),
                Packaged::Track(kind, Output::Part(part)) => {
                    // Of several parts that one frame closes, only of the first is it known where it began.
                    let first = self.first.take().filter(|_| !part.gap && traces::wants_part());
                    if let Some(part) = first.and_then(|first| self.whole(first, stream, name(*kind))) {
                        followed = Some(part.path());
                        traces::packaging(part);
                    }
                    self.part += 1;
                    complete = true;
                }
                Packaged::Track(_, Output::Close) => {}
            }
        }
        if complete {
            // The frame that closes a part is the first of the next.
            self.first = self.newest;
        }
        followed
    }

    fn whole(&self, first: Time, stream: &Stream, rendition: &'static str) -> Option<traces::Part> {
        let (first, closed) = (stream.received(first)?, stream.received(self.newest?)?);
        let name = stream.name().to_string();
        Some(traces::Part { stream: name, epoch: self.epoch, rendition, msn: self.msn, part: self.part, first, closed })
    }
}
