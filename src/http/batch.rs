//! TLS under HTTP/2, with its records written in batches. h2 asks for a flush behind every frame, which would be a system
//! call for each 16 KiB: here they wait until many are there, or until the connection has no more to say for now. Nothing
//! is copied for it: what waits are the sealed records, in the place where rustls has them anyway.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

/// What TLS writes into. Shut, it takes nothing until a batch is there.
#[derive(Debug)]
pub(super) struct Gate<T> {
    io: T,
    shut: bool,
}

impl<T> Gate<T> {
    /// Open.
    pub(super) fn new(io: T) -> Gate<T> {
        Gate { io, shut: false }
    }

    fn stops(&self, bytes: usize) -> bool {
        self.shut && bytes < BATCH
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Gate<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gate<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // Nobody needs to be woken: whoever shut the gate pushes before it rests.
        if self.stops(buf.len()) { Poll::Pending } else { Pin::new(&mut self.io).poll_write(cx, buf) }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.stops(bufs.iter().map(|buf| buf.len()).sum()) {
            return Poll::Pending;
        }
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// A TLS stream that says it is flushed, and is when it is [pushed](Batched::poll_push). Clones are the same stream: one
/// is hyper's, one its driver's. Only ever used on one task, so the lock is always free.
#[derive(Debug)]
pub(super) struct Batched<T>(Arc<Mutex<TlsStream<Gate<T>>>>);

impl<T> Clone for Batched<T> {
    fn clone(&self) -> Batched<T> {
        Batched(self.0.clone())
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Batched<T> {
    pub(super) fn new(mut stream: TlsStream<Gate<T>>) -> Batched<T> {
        // As much as makes a batch must find room, and a record more.
        stream.get_mut().1.set_buffer_limit(Some(BATCH + RECORD));
        stream.get_mut().0.shut = true;
        Batched(Arc::new(Mutex::new(stream)))
    }

    /// Writes out what waits. To be called whenever the connection rests.
    pub(super) fn poll_push(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stream = self.stream();
        if !stream.get_ref().1.wants_write() {
            return Poll::Ready(Ok(()));
        }
        stream.get_mut().0.shut = false;
        let pushed = Pin::new(&mut *stream).poll_flush(cx);
        stream.get_mut().0.shut = true;
        pushed
    }

    fn stream(&self) -> MutexGuard<'_, TlsStream<Gate<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Batched<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream()).poll_read(cx, buf)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Batched<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream()).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream()).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stream = self.stream();
        stream.get_mut().0.shut = false;
        Pin::new(&mut *stream).poll_shutdown(cx)
    }
}

/// Bytes of sealed records that are written at once. A slow peer's connection holds so much, and a record.
const BATCH: usize = 4 * RECORD;
/// Bytes: the largest record (RFC 8446 section 5.1) with its head and seal.
const RECORD: usize = (16 << 10) + 22;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_shut_gate_lets_batches_through_and_nothing_less() {
        let (mut near, far) = tokio::io::duplex(1 << 20);
        let mut gate = Gate::new(far);
        gate.write_all(b"open").await.unwrap();
        gate.shut = true;
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let bytes = vec![7; BATCH];
        assert!(Pin::new(&mut gate).poll_write(&mut cx, &bytes[1..]).is_pending());
        let slices = [IoSlice::new(&bytes[..RECORD]), IoSlice::new(&bytes[RECORD..])];
        assert!(Pin::new(&mut gate).poll_write_vectored(&mut cx, &slices[..1]).is_pending());
        assert!(Pin::new(&mut gate).poll_write_vectored(&mut cx, &slices).is_ready());
        assert!(Pin::new(&mut gate).poll_write(&mut cx, &bytes).is_ready());
        drop(gate);
        let mut seen = Vec::new();
        near.read_to_end(&mut seen).await.unwrap();
        assert!(seen.starts_with(b"open\x07") && seen.len() > 4 + BATCH);
    }
}
