//! The frame log: one writer appends, readers follow with cursors. It is replay buffer and fan-out in one type. The
//! writer never waits for a reader; a reader that falls behind what is kept gets [`Lagged`] and decides for itself.
//! Waiters are few (O(cores) per stream, never O(viewers)). Never looks inside an entry beyond [`Entry`].

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};

#[cfg(feature = "model")]
use loom::sync::{Arc, Mutex, MutexGuard};
#[cfg(not(feature = "model"))]
use std::sync::{Arc, Mutex, MutexGuard};

use super::budget::{Budget, Share};

/// What a log needs to know of its entries.
pub trait Entry: Clone {
    /// Bytes of memory this entry keeps alive, for the budgets.
    fn bytes(&self) -> usize;
    /// A reader can start here (a key frame).
    fn is_start(&self) -> bool;
}

/// The writing end. Dropping it closes the log: readers get what is left, then `None`.
#[derive(Debug)]
pub struct Log<T: Entry> {
    shared: Arc<Shared<T>>,
}

/// A reading position. Dropping it costs nobody anything.
#[derive(Debug)]
pub struct Cursor<T: Entry> {
    shared: Arc<Shared<T>>,
    next: u64,
    slot: usize,
}

/// A way to open cursors without keeping the log open. Cheap to clone.
#[derive(Debug)]
pub struct Reader<T: Entry> {
    shared: Arc<Shared<T>>,
}

/// The reader was slower than the log's bounds allow: entries it had not read are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the reader fell behind: {missed} entries are gone")]
pub struct Lagged {
    /// Entries lost between the cursor and the oldest that is kept.
    pub missed: u64,
}

/// Where a cursor begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The oldest entry that is kept.
    Oldest,
    /// The newest start; the next entry to come if there is none.
    NewestStart,
    /// The next entry to come.
    Next,
}

#[derive(Debug)]
struct Shared<T: Entry> {
    state: Mutex<State<T>>,
    limit: usize,
}

#[derive(Debug)]
struct State<T> {
    entries: VecDeque<T>,
    /// Sequence number of the front entry.
    first: u64,
    /// Sequence numbers of the starts that are kept.
    starts: VecDeque<u64>,
    share: Share,
    /// One place per cursor; holds a waker while that cursor waits.
    waiting: Vec<Option<Waker>>,
    free: Vec<usize>,
    closed: bool,
}

/// Starts that are kept: the newest, which late readers begin at, and the one before it, so that a reader may be a
/// whole group of pictures behind before it lags.
const STARTS_KEPT: usize = 2;
/// Entries that are kept whatever their starts: of a source with nothing but key frames, or with several in a row, two
/// starts are a few milliseconds, and a reader is not behind that waits for a processor so long.
const ENTRIES_KEPT: u64 = 128;

impl<T: Entry> Log<T> {
    /// An empty log that keeps at most `limit` bytes, counted in `budget` as well.
    pub fn new(limit: usize, budget: &Budget) -> Log<T> {
        let state = State {
            entries: VecDeque::new(),
            first: 0,
            starts: VecDeque::new(),
            share: budget.take(0),
            waiting: Vec::new(),
            free: Vec::new(),
            closed: false,
        };
        Log { shared: Arc::new(Shared { state: Mutex::new(state), limit }) }
    }

    /// Appends an entry, drops what exceeds the bounds and wakes every waiting reader. Never blocks on a reader.
    pub fn push(&self, entry: T) {
        let mut state = self.shared.lock();
        state.append(entry, self.shared.limit);
        let wakers = state.take_wakers();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// No more entries will come. Readers drain what is kept and then get `None`.
    pub fn close(&self) {
        let mut state = self.shared.lock();
        state.closed = true;
        let wakers = state.take_wakers();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// A handle that opens cursors and does not keep the log open.
    pub fn reader(&self) -> Reader<T> {
        Reader { shared: self.shared.clone() }
    }
}

impl<T: Entry> Drop for Log<T> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<T: Entry> Clone for Reader<T> {
    fn clone(&self) -> Reader<T> {
        Reader { shared: self.shared.clone() }
    }
}

impl<T: Entry> Reader<T> {
    /// Opens a cursor.
    pub fn cursor(&self, from: From) -> Cursor<T> {
        let mut state = self.shared.lock();
        let end = state.end();
        let next = match from {
            From::Oldest => state.first,
            From::NewestStart => state.starts.back().copied().unwrap_or(end),
            From::Next => end,
        };
        let slot = state.open_slot();
        drop(state);
        Cursor { shared: self.shared.clone(), next, slot }
    }
}

impl<T: Entry> Cursor<T> {
    /// The next entry; waits for it. `None` once the log is closed and read to its end. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<T>, Lagged> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`Cursor::next`], for hand-written futures.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<T>, Lagged>> {
        let mut state = self.shared.lock();
        if self.next < state.first {
            return Poll::Ready(Err(Lagged { missed: state.first - self.next }));
        }
        if let Some(entry) = state.entries.get((self.next - state.first) as usize) {
            self.next += 1;
            return Poll::Ready(Ok(Some(entry.clone())));
        }
        if state.closed {
            return Poll::Ready(Ok(None));
        }
        if let Some(place) = state.waiting.get_mut(self.slot)
            && !place.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            *place = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Shows `visit` what is there now, without waiting and without a copy; `None` once the log is closed and read to its
    /// end, else how many there were. `visit` runs while the writer waits: it looks and does no more.
    pub fn look(&mut self, mut visit: impl FnMut(&T)) -> Result<Option<usize>, Lagged> {
        let state = self.shared.lock();
        if self.next < state.first {
            return Err(Lagged { missed: state.first - self.next });
        }
        let skipped = (self.next - state.first) as usize;
        let fresh = state.entries.len().saturating_sub(skipped);
        state.entries.iter().skip(skipped).for_each(&mut visit);
        self.next += fresh as u64;
        Ok((fresh > 0 || !state.closed).then_some(fresh))
    }

    /// After [`Lagged`]: goes on at the newest start. Says how many entries were skipped in all.
    pub fn skip_to_newest_start(&mut self) -> u64 {
        let state = self.shared.lock();
        let to = state.starts.back().copied().unwrap_or(state.end()).max(self.next);
        let skipped = to - self.next;
        drop(state);
        self.next = to;
        skipped
    }
}

impl<T: Entry> Drop for Cursor<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let slot = self.slot;
        if let Some(place) = state.waiting.get_mut(slot) {
            *place = None;
            state.free.push(slot);
        }
    }
}

impl<T: Entry> Shared<T> {
    /// A panic elsewhere while the lock was held leaves the state whole: every change below completes or does not begin.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Entry> State<T> {
    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn append(&mut self, entry: T, limit: usize) {
        if entry.is_start() {
            self.starts.push_back(self.end());
        }
        self.share.grow(entry.bytes());
        self.entries.push_back(entry);
        if self.starts.len() > STARTS_KEPT {
            let keep_from = self.starts[self.starts.len() - STARTS_KEPT];
            self.drop_before(keep_from.min(self.end().saturating_sub(ENTRIES_KEPT)));
        }
        if self.share.budget().exceeded()
            && let Some(newest) = self.starts.back().copied()
        {
            self.drop_before(newest);
        }
        while self.share.bytes() > limit && self.entries.len() > 1 {
            self.drop_before(self.first + 1);
        }
    }

    fn drop_before(&mut self, sequence: u64) {
        while self.first < sequence {
            let Some(entry) = self.entries.pop_front() else { return };
            self.share.shrink(entry.bytes());
            self.first += 1;
        }
        while self.starts.front().is_some_and(|start| *start < self.first) {
            self.starts.pop_front();
        }
    }

    fn open_slot(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.waiting.push(None);
            self.waiting.len() - 1
        })
    }

    fn take_wakers(&mut self) -> Vec<Waker> {
        self.waiting.iter_mut().filter_map(Option::take).collect()
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
