//! ICE over TCP (RFC 6544) on the port's number, for clients whose network lets no UDP through: each datagram behind its
//! length (RFC 4571). A connection is a path as any other; its datagrams go to the session's worker.

use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
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
    let Ok(peer) = stream.peer_addr().map(canonical) else { return };
    let (writer, outgoing) = mpsc::channel(OUTGOING);
    let Some(id) = shared.registry.add_tcp(writer, peer.ip()) else { return };
    let ended = exchange(worker, &shared, stream, (peer, id), outgoing).await;
    shared.registry.remove_tcp(id);
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "a WebRTC connection over TCP ended");
    }
}

async fn exchange(
    worker: usize,
    shared: &Shared,
    mut stream: TcpStream,
    (remote, id): (SocketAddr, u64),
    mut outgoing: mpsc::Receiver<Vec<u8>>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?.ip().to_canonical();
    let path = Path { remote, local: Some(local), tcp: Some(id) };
    let (mut reader, mut writer) = stream.split();
    // Nothing is ever sent over a path that no session has proven.
    let proven = Cell::new(false);
    let read = async {
        for count in 0_usize.. {
            if count >= MOST_UNPROVEN && !proven.get() {
                return Err(io::Error::other("much was said, and nothing that a session knows"));
            }
            let mut length = [0; 2];
            timeout(SILENCE, reader.read_exact(&mut length)).await??;
            let length = usize::from(u16::from_be_bytes(length));
            if length > LONGEST {
                return Err(io::Error::from(io::ErrorKind::InvalidData));
            }
            let mut datagram = vec![0; length];
            timeout(SILENCE, reader.read_exact(&mut datagram)).await??;
            shared.carry(worker, path, datagram).await;
        }
        Ok(())
    };
    let write = async {
        let first = timeout(PROOF, outgoing.recv()).await.map_err(|_| io::Error::other("no session knows it"))?;
        proven.set(true);
        shared.registry.prove_tcp(id);
        let mut next = first;
        while let Some(datagram) = next {
            let whole = [&(datagram.len() as u16).to_be_bytes()[..], &datagram].concat();
            timeout(SILENCE, writer.write_all(&whole)).await??;
            next = outgoing.recv().await;
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
/// A connection says whose it is within this time.
const PROOF: Duration = Duration::from_secs(10);
/// Datagrams until then: the requests of a client that tries many of them.
const MOST_UNPROVEN: usize = 64;
const PAUSE: Duration = Duration::from_millis(50);
