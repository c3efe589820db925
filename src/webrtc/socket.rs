//! The UDP sockets: one per worker on the same port, so that the kernel spreads peers over workers by their addresses.
//! Answers leave from the address that was asked (IP_PKTINFO), and a run of datagrams leaves in one call (GSO).

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;

use super::ice::Path;

/// One worker's socket.
#[derive(Debug)]
pub(super) struct Port {
    socket: tokio::net::UdpSocket,
    state: UdpSocketState,
    /// It knows IPv4 addresses as mapped ones.
    is_v6: bool,
}

/// Where a worker reads datagrams into.
#[derive(Debug)]
pub(super) struct Inbox {
    buffers: Vec<u8>,
    metas: [RecvMeta; BATCH],
}

/// Binds `count` UDP sockets and TCP listeners to one port; port 0 takes one that is free for both.
pub(super) fn bind(listen: SocketAddr, count: usize) -> io::Result<(SocketAddr, Vec<UdpSocket>, Vec<TcpListener>)> {
    let tries = if listen.port() == 0 { 8 } else { 1 };
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..tries {
        match bind_both(listen, count) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
            bound => return bound,
        }
    }
    Err(last)
}

fn bind_both(listen: SocketAddr, count: usize) -> io::Result<(SocketAddr, Vec<UdpSocket>, Vec<TcpListener>)> {
    let first = udp(listen)?;
    let addr = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..count {
        sockets.push(udp(addr)?);
    }
    let listeners = (0..count).map(|_| tcp(addr)).collect::<io::Result<_>>()?;
    Ok((addr, sockets, listeners))
}

fn udp(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    open(&socket, addr)?;
    // What a key frame to a thousand viewers needs at once; the kernel gives what it is allowed to.
    let _ = socket.set_send_buffer_size(BUFFER);
    let _ = socket.set_recv_buffer_size(BUFFER);
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

fn tcp(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    open(&socket, addr)?;
    socket.bind(&addr.into())?;
    socket.listen(128)?;
    Ok(socket.into())
}

fn open(socket: &Socket, addr: SocketAddr) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    socket.set_reuse_port(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    Ok(())
}

impl Port {
    /// Takes a bound socket; within a runtime.
    pub(super) fn new(socket: UdpSocket) -> io::Result<Port> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let is_v6 = socket.local_addr()?.is_ipv6();
        let socket = tokio::net::UdpSocket::from_std(socket)?;
        Ok(Port { socket, state, is_v6 })
    }

    /// How many datagrams one call may send.
    pub(super) fn room(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Waits until something is there. Cancel-safe.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Sends datagrams of `size` bytes each, the last may be smaller. False if the kernel had no room for them.
    pub(super) fn send(&self, path: Path, contents: &[u8], size: usize) -> bool {
        let transmit = Transmit {
            destination: self.mapped(path.remote),
            ecn: None,
            contents,
            segment_size: (contents.len() > size).then_some(size),
            src_ip: path.local,
        };
        let send = || self.state.try_send(UdpSockRef::from(&self.socket), &transmit);
        self.socket.try_io(Interest::WRITABLE, send).is_ok()
    }

    fn mapped(&self, remote: SocketAddr) -> SocketAddr {
        match remote.ip() {
            IpAddr::V4(v4) if self.is_v6 => SocketAddr::new(v4.to_ipv6_mapped().into(), remote.port()),
            _ => remote,
        }
    }
}

impl Inbox {
    /// Empty.
    pub(super) fn new() -> Inbox {
        Inbox { buffers: vec![0; BATCH * LARGEST], metas: [RecvMeta::default(); BATCH] }
    }

    /// Gives out what is there, one call's worth; false if nothing was.
    pub(super) fn receive(&mut self, port: &Port, mut take: impl FnMut(Path, &[u8])) -> bool {
        let (Port { socket, state, .. }, Inbox { buffers, metas }) = (port, self);
        let mut rest = &mut buffers[..];
        let mut slices: [IoSliceMut<'_>; BATCH] = std::array::from_fn(|_| {
            let (slice, tail) = std::mem::take(&mut rest).split_at_mut(LARGEST);
            rest = tail;
            IoSliceMut::new(slice)
        });
        let received = socket.try_io(Interest::READABLE, || state.recv(UdpSockRef::from(socket), &mut slices, metas));
        let Ok(count) = received else { return false };
        for (meta, slice) in metas.iter().zip(&slices).take(count) {
            let path = Path { remote: canonical(meta.addr), local: meta.dst_ip.map(|ip| ip.to_canonical()), tcp: None };
            let stride = meta.stride.max(1);
            for datagram in slice[..meta.len].chunks(stride) {
                take(path, datagram);
            }
        }
        true
    }
}

/// Without the mapping of IPv4 into IPv6.
pub(super) fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// True for addresses that stand for all of a machine's.
pub(super) fn is_everywhere(addr: SocketAddr) -> bool {
    addr.ip().is_unspecified()
}

/// The addresses of this machine that peers may try, the best first; `near`: one that a peer is known to reach.
pub(super) fn local_addresses(listen: SocketAddr, near: Option<IpAddr>) -> Vec<IpAddr> {
    if !is_everywhere(listen) {
        return vec![listen.ip().to_canonical()];
    }
    let mut found: Vec<IpAddr> = near.into_iter().collect();
    for interface in if_addrs::get_if_addrs().unwrap_or_default() {
        let ip = interface.ip();
        let usable = match ip {
            IpAddr::V4(v4) => !v4.is_link_local(),
            // Link-local addresses need a scope that a candidate cannot carry; an IPv4 socket takes none of these.
            IpAddr::V6(v6) => listen.is_ipv6() && !v6.is_unicast_link_local(),
        };
        if usable && !ip.is_loopback() && !found.contains(&ip) {
            found.push(ip);
        }
    }
    if found.is_empty() {
        found.push(Ipv4Addr::LOCALHOST.into());
    }
    found.truncate(MOST_ADDRESSES);
    found
}

/// Buffers of one call. With GRO each may hold many datagrams.
const BATCH: usize = 16;
/// Bytes of each buffer.
const LARGEST: usize = 65_536;
/// Bytes of the kernel's buffers.
const BUFFER: usize = 4 << 20;
/// Candidates make an answer long, and every one of them costs a browser requests.
const MOST_ADDRESSES: usize = 8;
