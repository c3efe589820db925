//! ICE over TCP (RFC 6544) on the port's number, for clients whose network lets no UDP through: each datagram behind its
//! length (RFC 4571). A connection is a path as any other; its datagrams go to the session's worker.

use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::Shared;
use super::ice::Path;
use super::socket::canonical;
use super::worker::Command;

/// Takes connections, and gives their datagrams to `worker`.
pub(super) async fn serve(worker: usize, shared: Arc<Shared>, listener: StdListener) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "no WebRTC over TCP"),
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                spawn_local(carry(worker, shared.clone(), stream));
            }
            // Without descriptors only time helps.
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn carry(worker: usize, shared: Arc<Shared>, stream: TcpStream) {
    let (writer, outgoing) = mpsc::channel(OUTGOING);
    let Some(id) = shared.registry.add_tcp(writer) else { return };
    let ended = exchange(worker, &shared, stream, id, outgoing).await;
    shared.registry.remove_tcp(id);
    if let Err(error) = ended {
        tracing::debug!(%error, "a WebRTC connection over TCP ended");
    }
}

async fn exchange(
    worker: usize,
    shared: &Shared,
    mut stream: TcpStream,
    id: u64,
    mut outgoing: mpsc::Receiver<Vec<u8>>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?.ip().to_canonical();
    let path = Path { remote: canonical(stream.peer_addr()?), local: Some(local), tcp: Some(id) };
    let (mut reader, mut writer) = stream.split();
    let read = async {
        loop {
            let mut length = [0; 2];
            timeout(SILENCE, reader.read_exact(&mut length)).await??;
            let length = usize::from(u16::from_be_bytes(length));
            if length > LONGEST {
                return Err(io::Error::from(io::ErrorKind::InvalidData));
            }
            let mut datagram = vec![0; length];
            timeout(SILENCE, reader.read_exact(&mut datagram)).await??;
            shared.tell(worker, Command::Datagram(path, datagram));
        }
    };
    let write = async {
        while let Some(datagram) = outgoing.recv().await {
            writer.write_all(&(datagram.len() as u16).to_be_bytes()).await?;
            writer.write_all(&datagram).await?;
        }
        Ok(())
    };
    tokio::select! {
        ended = read => ended,
        ended = write => ended,
    }
}

/// Datagrams that wait for a slow connection: half a second of 8 Mbit/s.
const OUTGOING: usize = 512;
/// In bytes. No datagram of WebRTC is larger than a packet of the network.
const LONGEST: usize = 2_048;
/// A peer is asked for consent every few seconds, and so has something to say.
const SILENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);
