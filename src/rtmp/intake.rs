//! The read buffer of a connection. Long messages are slices of it, so a block goes on living while one of them does;
//! the buffer fills a block before it takes another, and takes the old one again when nobody holds it any more.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The read buffer.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) buffer: BytesMut,
    block: usize,
}

impl Intake {
    /// A small one, for peers that have not shown yet that they have something to say.
    pub(super) fn small() -> Intake {
        Intake { buffer: BytesMut::with_capacity(SMALL_BLOCK), block: SMALL_BLOCK }
    }

    /// From now on media is read.
    pub(super) fn enlarge(&mut self) {
        self.block = BLOCK;
    }

    /// One read; 0 is the end. `wanted`: bytes that the buffer must be able to hold for anything to come of it.
    pub(super) async fn read<R: AsyncRead + Unpin>(&mut self, io: &mut R, wanted: usize) -> io::Result<usize> {
        self.make_room(wanted);
        io.read_buf(&mut self.buffer).await
    }

    fn make_room(&mut self, wanted: usize) {
        let held = self.buffer.len();
        let least = wanted.saturating_sub(held).max(MIN_READ);
        if self.buffer.capacity() - held >= least {
            return;
        }
        let room = self.block.max(wanted + MIN_READ).max(held + MIN_READ);
        if self.buffer.try_reclaim(room - held) {
            return;
        }
        let mut next = BytesMut::with_capacity(room);
        next.extend_from_slice(&self.buffer);
        self.buffer = next;
    }
}

/// Holds the second of media of a 500 kbit/s stream, and what a socket has in one wake-up of a 20 Mbit/s one.
pub(super) const BLOCK: usize = 64 * 1024;
/// Two handshake packets and a `connect`.
const SMALL_BLOCK: usize = 4 * 1024;
/// With less room than this left, a block counts as full.
const MIN_READ: usize = 2 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[tokio::test]
    async fn a_block_is_filled_before_another_is_taken() {
        let mut intake = Intake::small();
        intake.enlarge();
        let mut source = tokio::io::repeat(7);
        let mut held = Vec::new();
        for _ in 0..100 {
            let read = intake.read(&mut source, 0).await.unwrap();
            assert!((MIN_READ..=BLOCK).contains(&read));
            held.push(intake.buffer.split_to(read.min(1000)).freeze());
            intake.buffer.clear();
        }
        assert!(intake.buffer.capacity() <= BLOCK);
    }

    #[tokio::test]
    async fn a_block_that_nobody_holds_is_taken_again() {
        let mut intake = Intake::small();
        intake.enlarge();
        let mut source = tokio::io::repeat(7);
        intake.make_room(0);
        intake.buffer = BytesMut::with_capacity(BLOCK);
        let start = intake.buffer.as_ptr();
        for _ in 0..100 {
            intake.read(&mut source, 0).await.unwrap();
            drop(intake.buffer.split().freeze());
        }
        intake.make_room(0);
        assert_eq!(intake.buffer.as_ptr(), start);
    }

    #[tokio::test]
    async fn there_is_room_for_what_is_wanted() {
        let mut intake = Intake::small();
        let mut source = tokio::io::repeat(7);
        while intake.buffer.len() < 66_000 {
            intake.read(&mut source, 66_000).await.unwrap();
        }
        assert!(intake.buffer.capacity() <= 2 * BLOCK);
    }
}
