//! What one thread's WHEP viewers saw; `mod` adds the threads' up.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Failure;
use super::track::Track;
use crate::tally::Times;

/// The figures.
pub(crate) struct Tally {
    /// Viewers that got a picture.
    pub(crate) joined: u64,
    /// Viewers that left as they wanted to.
    pub(crate) left: u64,
    /// From the offer to keys.
    pub(crate) connect: Times,
    /// From the offer to the first packet of pictures.
    pub(crate) join: Times,
    /// Between the ends of two frames.
    pub(crate) frame: Times,
    /// From the publisher's sending the end of a frame to its being here.
    pub(crate) delay: Times,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) lost: u64,
    pub(crate) frames: u64,
    /// Gaps that a viewer sees.
    pub(crate) gaps: u64,
    /// Packets that did not open.
    pub(crate) unproven: u64,
    pub(crate) failures: BTreeMap<Failure, u64>,
}

impl Tally {
    /// Nothing yet.
    pub(crate) fn new() -> Tally {
        Tally {
            joined: 0,
            left: 0,
            connect: Times::new(),
            join: Times::new(),
            frame: Times::new(),
            delay: Times::new(),
            packets: 0,
            bytes: 0,
            lost: 0,
            frames: 0,
            gaps: 0,
            unproven: 0,
            failures: BTreeMap::new(),
        }
    }

    /// Takes in what a viewer saw.
    pub(crate) fn tracks(&mut self, tracks: &[Track; 2], joined: bool) {
        self.joined += u64::from(joined);
        for track in tracks {
            self.packets += track.packets;
            self.bytes += track.bytes;
            self.lost += track.lost();
        }
        self.frames += tracks[0].frames;
    }

    /// So long there was no picture.
    pub(crate) fn gap(&mut self, gap: Duration) {
        self.frame.record(gap);
        self.gaps += u64::from(gap > SEEN);
    }

    /// Takes in what another thread saw.
    pub(crate) fn add(&mut self, other: &Tally) {
        self.joined += other.joined;
        self.left += other.left;
        self.connect.add(&other.connect);
        self.join.add(&other.join);
        self.frame.add(&other.frame);
        self.delay.add(&other.delay);
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.lost += other.lost;
        self.frames += other.frames;
        self.gaps += other.gaps;
        self.unproven += other.unproven;
        for (failure, count) in &other.failures {
            *self.failures.entry(*failure).or_default() += count;
        }
    }
}

/// A pause that people notice.
const SEEN: Duration = Duration::from_millis(300);
