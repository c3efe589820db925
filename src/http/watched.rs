//! A socket that keeps its connection's [`Pulse`] and counts what is sent. Adds no buffer and no timer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use metrics::Counter;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::pulse::Pulse;

/// The first bytes of an HTTP/2 connection preface (RFC 9113 section 3.4); no method of HTTP/1 starts so.
const PREFACE: [u8; 3] = *b"PRI";

/// `T` with its pulse taken.
#[derive(Debug)]
pub(super) struct Watched<T> {
    io: T,
    pulse: Arc<Pulse>,
    sent: Counter,
    /// Bytes read to tell the protocol, to be read again.
    replay: [u8; PREFACE.len()],
    /// How many of them were read.
    read: u8,
    /// How many of those were given again.
    replayed: u8,
}

impl<T: AsyncRead + Unpin> Watched<T> {
    pub(super) fn new(io: T, pulse: Arc<Pulse>, sent: Counter) -> Watched<T> {
        Watched { io, pulse, sent, replay: [0; PREFACE.len()], read: 0, replayed: 0 }
    }

    /// Whether the peer opens with the HTTP/2 preface. Reads no further than that question needs, and forgets nothing.
    pub(super) async fn opens_http2(&mut self) -> io::Result<bool> {
        while usize::from(self.read) < PREFACE.len() {
            let at = usize::from(self.read);
            let count = self.io.read(&mut self.replay[at..]).await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.read += count as u8;
            let read = &self.replay[..usize::from(self.read)];
            if !PREFACE.starts_with(read) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn count(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Pending => self.pulse.blocked(),
            Poll::Ready(Ok(bytes)) => {
                self.pulse.wrote(*bytes);
                self.sent.increment(*bytes as u64);
            }
            Poll::Ready(Err(_)) => {}
        }
        written
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if this.replayed < this.read {
            let rest = &this.replay[usize::from(this.replayed)..usize::from(this.read)];
            let count = rest.len().min(buf.remaining());
            buf.put_slice(&rest[..count]);
            this.replayed += count as u8;
        }
        let replayed = buf.filled().len() > before;
        // What follows comes along: hyper would double its buffer after a read of three bytes.
        let polled = Pin::new(&mut this.io).poll_read(cx, buf);
        if buf.filled().len() > before {
            this.pulse.read();
        }
        // Whatever the socket said meanwhile, it will say again.
        if replayed {
            return Poll::Ready(Ok(()));
        }
        polled
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.count(written)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::pulse::{Clock, Patience};
    use super::*;

    async fn told(opening: &[u8]) -> (io::Result<bool>, Vec<u8>) {
        let clock = Clock::new(Patience { header: 1, idle: 1, write: 1, answer: 1 });
        let mut watched = Watched::new(opening, Pulse::new(clock, None), Counter::noop());
        let http2 = watched.opens_http2().await;
        let mut seen = Vec::new();
        watched.read_to_end(&mut seen).await.unwrap();
        (http2, seen)
    }

    #[tokio::test]
    async fn tells_the_protocol_and_gives_every_byte_again() {
        for (opening, http2) in [("PRI * HTTP/2.0\r\n", true), ("GET / HTTP/1.1\r\n", false), ("PROPFIND /", false)] {
            let (answer, seen) = told(opening.as_bytes()).await;
            assert_eq!(answer.unwrap(), http2);
            assert_eq!(seen, opening.as_bytes());
        }
        assert!(told(b"").await.0.is_err());
        assert!(told(b"PR").await.0.is_err());
    }
}
