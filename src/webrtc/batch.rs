//! Datagrams on their way to one peer, side by side in one buffer: as long as they are of one size (the last may be smaller)
//! the kernel takes them in one call and cuts them apart (UDP GSO). Owned by a worker; never looks inside.

use super::ice::Path;

/// The datagrams.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    runs: Vec<Run>,
    path: Option<Path>,
    room: usize,
}

/// Datagrams that go out in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    path: Path,
    start: usize,
    end: usize,
    /// Bytes of each but the last.
    size: usize,
    count: usize,
    /// A smaller one came: it was the last.
    full: bool,
}

impl Batch {
    /// `room`: how many datagrams the kernel takes in one call.
    pub(super) fn new(room: usize) -> Batch {
        Batch { bytes: Vec::with_capacity(2 * EAGER), runs: Vec::new(), path: None, room: room.max(1) }
    }

    /// What follows goes here.
    pub(super) fn to(&mut self, path: Path) {
        self.path = Some(path);
    }

    /// Where the next datagram begins.
    pub(super) fn open(&mut self) -> usize {
        self.bytes.len()
    }

    /// The buffer, to append to.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The datagram that began at `start` is whole.
    pub(super) fn close(&mut self, start: usize) {
        let (end, Some(path)) = (self.bytes.len(), self.path) else {
            self.bytes.truncate(start);
            return;
        };
        let size = end - start;
        if let Some(run) = self.runs.last_mut()
            && run.path == path
            && !run.full
            && size <= run.size
            && run.count < self.room
            && end - run.start <= MOST_BYTES
            && path.tcp.is_none()
        {
            (run.end, run.count, run.full) = (end, run.count + 1, size < run.size);
            return;
        }
        self.runs.push(Run { path, start, end, size, count: 1, full: false });
    }

    /// A whole datagram.
    pub(super) fn push(&mut self, path: Path, datagram: &[u8]) {
        self.to(path);
        let start = self.open();
        self.bytes.extend_from_slice(datagram);
        self.close(start);
    }

    /// There is so much that those who come first should not wait for the others.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= EAGER
    }

    /// Gives out all runs: where to, the bytes, and how many bytes each datagram has.
    pub(super) fn drain(&mut self, mut send: impl FnMut(Path, &[u8], usize)) {
        for run in self.runs.drain(..) {
            send(run.path, &self.bytes[run.start..run.end], run.size);
        }
        self.bytes.clear();
    }
}

/// In bytes: what stays in a core's nearest caches between being encrypted and being sent.
const EAGER: usize = 64 << 10;
/// What fits into one call.
const MOST_BYTES: usize = 65_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn path(port: u16, tcp: Option<u64>) -> Path {
        Path { remote: ([192, 0, 2, 1], port).into(), local: None, tcp }
    }

    fn runs(batch: &mut Batch) -> Vec<(u16, usize, usize)> {
        let mut runs = Vec::new();
        batch.drain(|path, bytes, size| runs.push((path.remote.port(), bytes.len(), size)));
        runs
    }

    #[test]
    fn datagrams_of_one_size_go_together_and_a_smaller_one_ends_them() {
        let mut batch = Batch::new(4);
        for (port, size) in [(1, 10), (1, 10), (1, 4), (1, 4), (2, 4), (2, 5), (2, 5), (2, 5), (2, 5), (2, 5)] {
            batch.push(path(port, None), &vec![0; size]);
        }
        assert_eq!(runs(&mut batch), [(1, 24, 10), (1, 4, 4), (2, 4, 4), (2, 20, 5), (2, 5, 5)]);
        assert_eq!(runs(&mut batch), []);
    }

    #[test]
    fn over_tcp_each_goes_alone() {
        let mut batch = Batch::new(4);
        batch.push(path(1, Some(3)), &[0; 10]);
        batch.push(path(1, Some(3)), &[0; 10]);
        assert_eq!(runs(&mut batch).len(), 2);
    }
}
