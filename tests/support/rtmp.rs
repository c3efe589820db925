//! A publisher of a few lines, for tests that need hundreds of them or one that behaves badly: plain handshake, the
//! commands of a publisher, and FLV tags from a file. ffmpeg is the real one.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One audio or video message.
#[derive(Clone, Debug)]
pub struct Tag {
    /// 8 is audio, 9 is video, 18 is data.
    pub kind: u8,
    /// In milliseconds.
    pub time: u32,
    pub body: Vec<u8>,
}

/// The tags of an FLV file.
pub fn tags(file: &Path) -> Vec<Tag> {
    let data = std::fs::read(file).unwrap();
    let mut at = 13;
    let mut out = Vec::new();
    while let Some(head) = data.get(at..at + 11) {
        let size = usize::from(head[1]) << 16 | usize::from(head[2]) << 8 | usize::from(head[3]);
        let time = u32::from_be_bytes([head[7], head[4], head[5], head[6]]);
        let Some(body) = data.get(at + 11..at + 11 + size) else { break };
        out.push(Tag { kind: head[0], time, body: body.to_vec() });
        at += 11 + size + 4;
    }
    out
}

/// A connection that may publish.
#[derive(Debug)]
pub struct Session {
    pub stream: TcpStream,
}

impl Session {
    /// Connects, shakes hands and asks to publish `key`; returns when the server said that publishing has started.
    pub async fn publish(address: &str, key: &str) -> Session {
        Session::try_publish(address, key).await.unwrap_or_else(|heard| panic!("refused: {heard}"))
    }

    /// The same; where the server closes instead, what it said before.
    pub async fn try_publish(address: &str, key: &str) -> Result<Session, String> {
        let mut session = Session::shake(address).await;
        let mut out = Vec::new();
        let app = [&[3][..], &text("app"), &string("live"), &[0, 0, 9]].concat();
        message(&mut out, 3, 20, 0, 0, &[string("connect"), number(1.0), app].concat());
        message(&mut out, 3, 20, 0, 0, &[string("createStream"), number(2.0), vec![5]].concat());
        let publish = [string("publish"), number(3.0), vec![5], string(key), string("live")].concat();
        message(&mut out, 4, 20, 0, 1, &publish);
        session.stream.write_all(&out).await.unwrap();
        session.hear("NetStream.Publish.Start").await?;
        Ok(session)
    }

    /// Connects and shakes hands.
    pub async fn shake(address: &str) -> Session {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut hello = vec![3u8];
        hello.extend([0; 8]);
        hello.extend((0..1528u32).map(|i| (i * 7 % 251) as u8));
        stream.write_all(&hello).await.unwrap();
        let mut reply = vec![0; 1 + 1536 + 1536];
        stream.read_exact(&mut reply).await.unwrap();
        stream.write_all(&reply[1..1537]).await.unwrap();
        Session { stream }
    }

    /// Reads until a text has come.
    async fn hear(&mut self, wanted: &str) -> Result<(), String> {
        let mut heard = Vec::new();
        let search = async {
            while !heard.windows(wanted.len()).any(|w| w == wanted.as_bytes()) {
                let mut some = [0; 4096];
                let n = self.stream.read(&mut some).await.unwrap();
                if n == 0 {
                    return Err(String::from_utf8_lossy(&heard).into_owned());
                }
                heard.extend_from_slice(&some[..n]);
            }
            Ok(())
        };
        tokio::time::timeout(Duration::from_secs(10), search).await.unwrap()
    }

    /// Sends one tag. An error means that the server closed the connection.
    pub async fn send(&mut self, tag: &Tag) -> std::io::Result<()> {
        let mut out = Vec::new();
        message(&mut out, if tag.kind == 8 { 5 } else { 6 }, tag.kind, tag.time, 1, &tag.body);
        self.stream.write_all(&out).await
    }
}

/// A message in chunks of 128 bytes, the size before anything else is agreed.
fn message(out: &mut Vec<u8>, chunk_stream: u8, kind: u8, time: u32, stream: u32, body: &[u8]) {
    out.push(chunk_stream);
    out.extend(&time.to_be_bytes()[1..]);
    out.extend(&(body.len() as u32).to_be_bytes()[1..]);
    out.push(kind);
    out.extend(stream.to_le_bytes());
    for (i, chunk) in body.chunks(128).enumerate() {
        if i > 0 {
            out.push(0xc0 | chunk_stream);
        }
        out.extend(chunk);
    }
}

/// AMF0 names and strings.
fn text(value: &str) -> Vec<u8> {
    [(value.len() as u16).to_be_bytes().to_vec(), value.as_bytes().to_vec()].concat()
}

fn string(value: &str) -> Vec<u8> {
    [vec![2], text(value)].concat()
}

fn number(value: f64) -> Vec<u8> {
    [vec![0], value.to_be_bytes().to_vec()].concat()
}
