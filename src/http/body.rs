//! A response body over bytes that exist already: nothing, one buffer, or a run of shared chunks; or over messages as they
//! come. Copies nothing.

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::mpsc;

use super::pulse::InFlight;

/// The body of every response. Its length is exact, so that hyper sends Content-Length, but for one of messages to come.
#[derive(Debug, Default)]
pub(super) struct Body {
    content: Content,
    /// The most bytes of a piece, where the protocol frames them.
    piece: Option<NonZeroUsize>,
    /// The request in the connection's accounts, until the answer is handed over.
    in_flight: Option<InFlight>,
}

#[derive(Debug, Default)]
enum Content {
    #[default]
    Empty,
    One(Bytes),
    Run(Run),
    Open(mpsc::Receiver<Bytes>),
}

/// A stretch of a chunk list.
#[derive(Debug)]
struct Run {
    chunks: Arc<[Bytes]>,
    /// The chunk that comes next.
    next: usize,
    /// Bytes of it to pass over.
    skip: usize,
    /// Bytes still to send.
    left: usize,
}

impl Body {
    /// No bytes at all.
    pub(super) fn empty() -> Body {
        Body::default()
    }

    /// All of one buffer.
    pub(super) fn one(bytes: Bytes) -> Body {
        let content = if bytes.is_empty() { Content::Empty } else { Content::One(bytes) };
        Body { content, ..Body::default() }
    }

    /// The bytes of `range` of the chunks put end to end. The range must lie within them.
    pub(super) fn run(chunks: Arc<[Bytes]>, range: Range<usize>) -> Body {
        let (mut next, mut skip) = (0, range.start);
        while chunks.get(next).is_some_and(|chunk| chunk.len() <= skip) {
            skip -= chunks[next].len();
            next += 1;
        }
        Body { content: Content::Run(Run { chunks, next, skip, left: range.len() }), ..Body::default() }
    }

    /// Messages as they come, until their sender is dropped.
    pub(super) fn open(messages: mpsc::Receiver<Bytes>) -> Body {
        Body { content: Content::Open(messages), ..Body::default() }
    }

    /// Gives pieces of the size of an HTTP/2 data frame from now on.
    pub(super) fn in_frames(&mut self) {
        self.piece = NonZeroUsize::new(FRAME);
    }

    /// Keeps the request counted as in flight until this body is done or dropped.
    pub(super) fn keep(&mut self, mut in_flight: InFlight) {
        // Messages come for hours: a peer that takes none is noticed by its socket alone.
        if !matches!(self.content, Content::Open(_)) {
            in_flight.answered();
        }
        self.in_flight = Some(in_flight);
    }

    /// Bytes still to send.
    pub(super) fn left(&self) -> usize {
        match &self.content {
            Content::Empty => 0,
            Content::One(bytes) => bytes.len(),
            Content::Run(run) => run.left,
            Content::Open(_) => 0,
        }
    }

    fn take(&mut self) -> Option<Bytes> {
        let most = self.piece.map_or(usize::MAX, NonZeroUsize::get);
        match std::mem::take(&mut self.content) {
            Content::Empty | Content::Open(_) => None,
            Content::One(mut bytes) => {
                let piece = bytes.split_to(bytes.len().min(most));
                self.content = if bytes.is_empty() { Content::Empty } else { Content::One(bytes) };
                Some(piece)
            }
            Content::Run(mut run) => {
                let piece = run.take(most)?;
                if run.left > 0 {
                    self.content = Content::Run(run);
                    return Some(piece);
                }
                // hyper drops a body when it has its last piece, long before a slow peer has: the piece takes over.
                Some(match self.in_flight.take() {
                    Some(in_flight) => Bytes::from_owner(Last { piece, _in_flight: in_flight }),
                    None => piece,
                })
            }
        }
    }
}

/// The last piece of a run, and the request that is in flight as long as it is.
struct Last {
    piece: Bytes,
    _in_flight: InFlight,
}

impl AsRef<[u8]> for Last {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

impl Run {
    fn take(&mut self, most: usize) -> Option<Bytes> {
        while self.left > 0 {
            let chunk = self.chunks.get(self.next)?;
            let end = chunk.len().min(self.skip.saturating_add(self.left.min(most)));
            let piece = chunk.slice(self.skip..end);
            self.left -= piece.len();
            (self.next, self.skip) = if end == chunk.len() { (self.next + 1, 0) } else { (self.next, end) };
            // An empty data frame would end an HTTP/2 stream's usefulness without saying anything.
            if !piece.is_empty() {
                return Some(piece);
            }
        }
        None
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Content::Open(messages) = &mut self.content {
            return messages.poll_recv(cx).map(|message| message.map(|bytes| Ok(Frame::data(bytes))));
        }
        Poll::Ready(self.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        !matches!(self.content, Content::Open(_)) && self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        match self.content {
            Content::Open(_) => SizeHint::default(),
            _ => SizeHint::with_exact(self.left() as u64),
        }
    }
}

/// Bytes of one data frame of HTTP/2: with its head it fits a TLS record, where one as large as peers take by default
/// would need a second record for its last 9 bytes. A multiple of 64, so that every piece of an aligned chunk is aligned:
/// the processor copies others into records at half the speed.
const FRAME: usize = 255 * 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn chunks() -> Arc<[Bytes]> {
        ["abc", "", "de", "fghi"].map(|text| Bytes::from_static(text.as_bytes())).to_vec().into()
    }

    fn sent(mut body: Body) -> (usize, Vec<Bytes>) {
        let length = body.left();
        let pieces = std::iter::from_fn(|| body.take()).collect();
        assert_eq!(body.left(), 0);
        (length, pieces)
    }

    #[test]
    fn every_range_of_a_run_is_sent_exactly() {
        let whole = b"abcdefghi";
        for start in 0..=whole.len() {
            for end in start..=whole.len() {
                let (length, pieces) = sent(Body::run(chunks(), start..end));
                assert_eq!(length, end - start);
                assert_eq!(pieces.concat(), whole[start..end], "{start}..{end}");
                assert!(pieces.iter().all(|piece| !piece.is_empty()));
            }
        }
    }

    #[test]
    fn pieces_are_views_of_the_chunks() {
        let chunks = chunks();
        let (_, pieces) = sent(Body::run(chunks.clone(), 1..8));
        assert_eq!(pieces[0].as_ptr(), chunks[0][1..].as_ptr());
        assert_eq!(pieces[2].as_ptr(), chunks[3].as_ptr());
    }

    #[test]
    fn a_framed_piece_is_no_larger_than_a_record() {
        let whole: Bytes = (0..3 * FRAME + 5).map(|at| at as u8).collect();
        let lengths = |pieces: &[Bytes]| pieces.iter().map(Bytes::len).collect::<Vec<_>>();
        let framed = |mut body: Body| {
            body.in_frames();
            sent(body).1
        };
        let pieces = framed(Body::one(whole.clone()));
        assert_eq!((lengths(&pieces), pieces.concat() == whole), (vec![FRAME, FRAME, FRAME, 5], true));
        let pieces = framed(Body::run([whole.clone(), whole.clone()].into(), 1..whole.len() + FRAME));
        assert_eq!(lengths(&pieces), [FRAME, FRAME, FRAME, 4, FRAME]);
        assert_eq!(pieces.concat(), [&whole[1..], &whole[..FRAME]].concat());
    }

    #[test]
    fn a_run_shorter_than_its_promise_ends() {
        let (_, pieces) = {
            let mut body = Body::run(chunks(), 0..20);
            (0, std::iter::from_fn(|| body.take()).take(10).collect::<Vec<_>>())
        };
        assert_eq!(pieces.concat(), b"abcdefghi");
    }

    #[test]
    fn one_buffer_or_nothing() {
        assert_eq!(sent(Body::one(Bytes::from_static(b"xy"))), (2, vec![Bytes::from_static(b"xy")]));
        assert_eq!(sent(Body::one(Bytes::new())), (0, vec![]));
        assert_eq!(sent(Body::empty()), (0, vec![]));
    }
}
