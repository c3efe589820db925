//! HTTP/1.1 for viewers, as little of it as a media server has to be asked with: one request at a time on a kept-alive
//! connection, answers with Content-Length. A general client costs more processor time for each request than the server
//! under test, most of it for tasks, channels and buffers that a viewer has no use for; here a body that nobody looks at
//! is not even copied out of the kernel. Called by `http`. What it does not understand ends the connection.

use std::cell::RefCell;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::http::{Failure, Keep};

/// An open connection.
pub(crate) struct Wire {
    stream: Stream,
    request: Vec<u8>,
    /// The last answer came whole, and did not end the connection.
    usable: bool,
}

/// What it runs over.
pub(crate) enum Stream {
    /// `http`
    Plain(TcpStream),
    /// `https`
    Tls(Box<TlsStream<TcpStream>>),
}

/// The head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Bytes of body.
    length: u64,
    /// The server closes the connection behind it.
    last: bool,
    /// Bytes that the head itself takes.
    size: usize,
}

impl Wire {
    /// Takes over a connection.
    pub(crate) fn new(stream: Stream) -> Wire {
        Wire { stream, request: Vec::new(), usable: true }
    }

    /// Whether another request may be sent, as far as this side knows.
    pub(crate) fn is_usable(&self) -> bool {
        self.usable
    }

    /// Asks for a path; returns the status, and the length of the body in bytes. Only the body of a 200 is kept.
    pub(crate) async fn get(&mut self, host: &str, path: &str, keep: &mut Keep<'_>) -> Result<(u16, u64), Failure> {
        self.usable = false;
        self.request.clear();
        for piece in ["GET ", path, " HTTP/1.1\r\nhost: ", host, "\r\n\r\n"] {
            self.request.extend_from_slice(piece.as_bytes());
        }
        self.send().await.map_err(|_| Failure::Closed)?;
        let head = self.receive(keep).await?;
        self.usable = !head.last;
        Ok((head.status, head.length))
    }

    async fn send(&mut self) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(tcp) => tcp.write_all(&self.request).await,
            Stream::Tls(tls) => {
                tls.write_all(&self.request).await?;
                tls.flush().await
            }
        }
    }

    async fn receive(&mut self, keep: &mut Keep<'_>) -> Result<Head, Failure> {
        let (head, mut left) = self.head(keep).await?;
        let mut nothing = Keep::Count;
        let keep = if head.status == 200 { keep } else { &mut nothing };
        while left > 0 {
            let limit = usize::try_from(left).unwrap_or(usize::MAX);
            let count = match (&self.stream, &*keep) {
                (Stream::Plain(tcp), Keep::Count) => discard(tcp, limit).await.map_err(|_| Failure::Closed)?,
                _ => self.read(limit, |bytes| keep.take(bytes).map(|()| bytes.len())).await?,
            };
            if count == 0 {
                return Err(Failure::Closed);
            }
            left -= count as u64;
        }
        Ok(head)
    }

    /// Reads up to the end of the head, and gives what came of the body to `keep`; how much of that is still to come.
    async fn head(&mut self, keep: &mut Keep<'_>) -> Result<(Head, u64), Failure> {
        let mut before = Vec::new();
        loop {
            let found = self.read(FIRST_READ, |bytes| {
                if bytes.is_empty() {
                    return Err(Failure::Closed);
                }
                if before.is_empty()
                    && let Some(head) = Head::parse(bytes)?
                {
                    return head.begin(bytes, keep).map(Some);
                }
                before.extend_from_slice(bytes);
                match Head::parse(&before)? {
                    Some(head) => head.begin(&before, keep).map(Some),
                    None if before.len() > LONGEST_HEAD => Err(Failure::Protocol),
                    None => Ok(None),
                }
            });
            if let Some(found) = found.await? {
                return Ok(found);
            }
        }
    }

    /// Reads once, up to `limit` bytes, and shows them; none at the end of the connection.
    async fn read<T>(&mut self, limit: usize, mut show: impl FnMut(&[u8]) -> Result<T, Failure>) -> Result<T, Failure> {
        std::future::poll_fn(|cx| {
            SCRATCH.with_borrow_mut(|scratch| {
                let room = limit.min(scratch.len());
                let mut buffer = ReadBuf::new(&mut scratch[..room]);
                let polled = match &mut self.stream {
                    Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, &mut buffer),
                    Stream::Tls(tls) => Pin::new(tls.as_mut()).poll_read(cx, &mut buffer),
                };
                match ready!(polled) {
                    Ok(()) => Poll::Ready(show(buffer.filled())),
                    Err(_) => Poll::Ready(Err(Failure::Closed)),
                }
            })
        })
        .await
    }
}

impl Head {
    /// None while its end has not come.
    fn parse(bytes: &[u8]) -> Result<Option<Head>, Failure> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
        let text = std::str::from_utf8(&bytes[..end]).map_err(|_| Failure::Protocol)?;
        let mut lines = text.split("\r\n");
        let (version, rest) = lines.next().and_then(|line| line.split_once(' ')).ok_or(Failure::Protocol)?;
        let status = rest.get(..3).and_then(|digits| digits.parse().ok()).ok_or(Failure::Protocol)?;
        if version != "HTTP/1.1" || status < 200 {
            return Err(Failure::Protocol);
        }
        let (mut length, mut last) = (matches!(status, 204 | 304).then_some(0), false);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") && length.is_none() {
                length = value.parse().ok();
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(Failure::Protocol);
            } else if name.eq_ignore_ascii_case("connection") {
                last = value.eq_ignore_ascii_case("close");
            }
        }
        Ok(Some(Head { status, length: length.ok_or(Failure::Protocol)?, last, size: end + 4 }))
    }

    fn begin(self, bytes: &[u8], keep: &mut Keep<'_>) -> Result<(Head, u64), Failure> {
        let body = &bytes[self.size..];
        // More than the answer has: nothing was asked for that it could belong to.
        let left = self.length.checked_sub(body.len() as u64).ok_or(Failure::Protocol)?;
        if self.status == 200 {
            keep.take(body)?;
        }
        Ok((self, left))
    }
}

/// Lets the kernel throw away up to `limit` bytes that have come.
async fn discard(tcp: &TcpStream, limit: usize) -> io::Result<usize> {
    std::future::poll_fn(|cx| poll_discard(tcp, limit, cx)).await
}

fn poll_discard(tcp: &TcpStream, limit: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    loop {
        ready!(tcp.poll_read_ready(cx))?;
        let received = tcp.try_io(Interest::READABLE, || {
            NOWHERE.with_borrow_mut(|nowhere| {
                let room = limit.min(nowhere.len());
                SockRef::from(tcp).recv_with_flags(&mut nowhere[..room], MSG_TRUNC)
            })
        });
        match received {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return Poll::Ready(other),
        }
    }
}

thread_local! {
    /// What all connections of a thread read into; a poll fills it and has it empty when it ends.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; 64 << 10].into());
    /// Address space for [`discard`], never written to.
    static NOWHERE: RefCell<Box<[MaybeUninit<u8>]>> = RefCell::new(Box::new_uninit_slice(1 << 20));
}

/// tcp(7): with this flag Linux drops received bytes instead of copying them.
const MSG_TRUNC: i32 = 0x20;

/// Enough for a head with a playlist or a part of sound behind it. Larger bodies are mostly dropped uncopied.
const FIRST_READ: usize = 8 << 10;

/// The longest head taken, in bytes.
const LONGEST_HEAD: usize = 16 << 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_head_tells_what_follows() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Type: x\r\ncontent-length: 12\r\n\r\nabc";
        assert_eq!(Head::parse(bytes), Ok(Some(Head { status: 200, length: 12, last: false, size: bytes.len() - 3 })));
        assert_eq!(Head::parse(&bytes[..30]), Ok(None));
        let closing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        assert!(Head::parse(closing).unwrap().unwrap().last);
        assert_eq!(Head::parse(b"HTTP/1.1 304 Not Modified\r\n\r\n").unwrap().unwrap().length, 0);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for bytes in [
            "RTSP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 abc\r\ncontent-length: 1\r\n\r\n",
        ] {
            assert_eq!(Head::parse(bytes.as_bytes()), Err(Failure::Protocol), "{bytes}");
        }
        let head = Head { status: 200, length: 1, last: false, size: 0 };
        assert_eq!(head.begin(b"ab", &mut Keep::Count), Err(Failure::Protocol));
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_parser(bytes in "(HTTP/1.1 [0-9]{0,4})?[\\r\\n:a-z0-9 é]{0,80}(\\r\\n\\r\\n)?") {
            if let Ok(Some(head)) = Head::parse(bytes.as_bytes()) {
                prop_assert!(head.size <= bytes.len());
            }
        }
    }
}
