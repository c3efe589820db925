//! A WebRTC peer that says exactly what a test wants: an offer of its own, requests of ICE, a DTLS handshake, SRTP both ways.
//! It keeps no rule by itself, so that a test can break any of them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc_crypto::RTCCryptoProvider;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;
use rtc_stun::attributes::{ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, Message, Setter};
use rtc_stun::textattrs::TextAttribute;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, UdpSocket};

use super::server::{Headwater, PATIENCE};

/// SSRCs and payload types of what a peer publishes.
pub const VIDEO: (u32, u8) = (1_000, 96);
pub const AUDIO: (u32, u8) = (2_000, 111);
pub const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.head.lines().filter_map(|line| line.split_once(": "));
        found.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

/// A request on a connection of its own, from this address of the loopback interface.
pub async fn ask(server: &Headwater, from: IpAddr, method: &str, path: &str, kind: &str, body: &[u8]) -> Reply {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut stream = socket.connect(server.http.parse().unwrap()).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nIf-Match: *\r\nConnection: close\r\n\r\n",
        server.http,
        body.len()
    );
    // A server that has heard enough answers and closes before it has all.
    let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "{method} {path}: no answer");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Reply { status, head: head.to_owned(), body: body.to_owned() }
}

/// Posts an offer.
pub async fn post(server: &Headwater, from: IpAddr, path: &str, offer: &str) -> Reply {
    ask(server, from, "POST", path, "application/sdp", offer.as_bytes()).await
}

/// An offer of H.264 and Opus. `direction`: of the client.
pub fn offer(direction: &str, fragment: &str, fingerprint: &str) -> String {
    let (video, audio) = (VIDEO, AUDIO);
    let sources =
        |ssrc: u32| if direction == "sendonly" { format!("a=ssrc:{ssrc} cname:test\r\n") } else { String::new() };
    format!(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF {}\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:{fragment}\r\na=ice-pwd:0123456789012345678901\r\n\
         a=fingerprint:{fingerprint}\r\na=setup:active\r\na=mid:0\r\na={direction}\r\na=rtcp-mux\r\n\
         a=rtpmap:{} opus/48000/2\r\n{}\
         m=video 9 UDP/TLS/RTP/SAVPF {} 97\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na={direction}\r\na=rtcp-mux\r\n\
         a=rtpmap:{} H264/90000\r\na=rtcp-fb:{} nack\r\na=rtcp-fb:{} nack pli\r\n\
         a=fmtp:{} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42c01f\r\n\
         a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt={}\r\n{}",
        audio.1,
        audio.1,
        sources(audio.0),
        video.1,
        video.1,
        video.1,
        video.1,
        video.1,
        video.1,
        sources(video.0)
    )
}

/// A binding request. What is left out is not in it.
pub fn request(username: &str, password: Option<&str>, fingerprint: bool) -> Vec<u8> {
    let provider = rtc_crypto::default_provider().unwrap();
    let mut message = Message::new();
    message.set_type(BINDING_REQUEST);
    message.new_transaction_id().unwrap();
    message.write_header();
    TextAttribute::new(ATTR_USERNAME, username.to_owned()).add_to(&mut message).unwrap();
    message.add(ATTR_PRIORITY, &1_u32.to_be_bytes());
    message.add(ATTR_USE_CANDIDATE, &[]);
    if let Some(password) = password {
        let integrity =
            MessageIntegrity::new_short_term_integrity_with_provider(password.to_owned(), provider.crypto());
        integrity.add_to(&mut message).unwrap();
    }
    if fingerprint {
        FINGERPRINT.add_to(&mut message).unwrap();
    }
    message.raw
}

/// A certificate, as an offer names it.
#[derive(Clone)]
pub struct Identity {
    certificate: Certificate,
    pub fingerprint: String,
    provider: Arc<dyn RTCCryptoProvider>,
}

impl Identity {
    /// A new one.
    pub fn new() -> Identity {
        let provider = rtc_crypto::default_provider().unwrap();
        let certificate = Certificate::generate_self_signed(vec!["test".to_owned()], provider.crypto()).unwrap();
        let digest = Sha256::digest(certificate.certificate.first().unwrap());
        let pairs: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        Identity { certificate, fingerprint: format!("sha-256 {}", pairs.join(":")), provider }
    }

    fn handshake(&self) -> Arc<HandshakeConfig> {
        let config = ConfigBuilder::default()
            .with_crypto_provider(self.provider.clone())
            .with_certificates(vec![self.certificate.clone()])
            .with_srtp_protection_profiles(vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_insecure_skip_verify(true)
            .with_flight_interval(Duration::from_millis(200))
            .build(true, None);
        Arc::new(config.unwrap())
    }
}

/// What came.
#[derive(Debug)]
pub enum Incoming {
    Stun(Vec<u8>),
    Dtls,
    Rtp(Vec<u8>),
    Rtcp(Vec<u8>),
}

/// A session, as its client has it.
pub struct Peer {
    pub socket: UdpSocket,
    /// Where the server's media port is.
    pub to: SocketAddr,
    /// The path of the session.
    pub location: String,
    /// `theirs:ours`, as requests name it.
    pub username: String,
    /// The server's password.
    pub password: String,
    identity: Identity,
    endpoint: Endpoint,
    srtp: Option<(Context, Context)>,
}

impl Peer {
    /// Makes an offer that names this identity's fingerprint, and no more. `path`: `/whip/NAME` or `/whep/NAME`.
    pub async fn offer(server: &Headwater, path: &str, named: &str, identity: Identity) -> Peer {
        let direction = if path.starts_with("/whip") { "sendonly" } else { "recvonly" };
        let reply = post(server, HERE, path, &offer(direction, "theirs", named)).await;
        assert_eq!(reply.status, 201, "{path}: {}", reply.body);
        Peer::answered(&reply, identity).await
    }

    /// Takes the answer to an offer.
    pub async fn answered(reply: &Reply, identity: Identity) -> Peer {
        let value = |name: &str| {
            let line = reply.body.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name} in {}", reply.body)).to_owned()
        };
        let port =
            reply.body.lines().find_map(|line| line.strip_prefix("a=candidate:")?.split(' ').nth(5)?.parse().ok());
        let endpoint = Endpoint::new(([127, 0, 0, 1], 1).into(), TransportProtocol::UDP, None);
        Peer {
            socket: UdpSocket::bind((HERE, 0)).await.unwrap(),
            to: (HERE, port.unwrap()).into(),
            location: reply.header("location").unwrap().to_owned(),
            username: format!("{}:theirs", value("a=ice-ufrag:")),
            password: value("a=ice-pwd:"),
            identity,
            endpoint,
            srtp: None,
        }
    }

    /// A session whose media can flow.
    pub async fn join(server: &Headwater, path: &str) -> Peer {
        let identity = Identity::new();
        let named = identity.fingerprint.clone();
        let mut peer = Peer::offer(server, path, &named, identity).await;
        assert!(peer.check(PATIENCE).await, "no answer to an ICE request");
        assert!(peer.shake(PATIENCE).await, "no DTLS handshake");
        peer
    }

    /// Asks over the present path; true if that is answered.
    pub async fn check(&mut self, patience: Duration) -> bool {
        self.send(&self.request()).await;
        let answered = async {
            loop {
                if let Some(Incoming::Stun(answer)) = self.next(patience).await
                    && answer[..2] == [1, 1]
                {
                    return;
                }
            }
        };
        tokio::time::timeout(patience, answered).await.is_ok()
    }

    /// A right binding request.
    pub fn request(&self) -> Vec<u8> {
        request(&self.username, Some(&self.password), true)
    }

    /// Shakes hands; true once there are keys.
    pub async fn shake(&mut self, patience: Duration) -> bool {
        let there = ([127, 0, 0, 1], 2).into();
        self.endpoint.connect(Instant::now(), there, self.identity.handshake(), None).unwrap();
        let until = Instant::now() + patience;
        while self.srtp.is_none() && Instant::now() < until {
            while let Some(sent) = self.endpoint.poll_transmit() {
                self.send(&sent.message).await;
            }
            if self.next(Duration::from_millis(250)).await.is_none()
                && self.endpoint.handle_timeout(there, Instant::now()).is_err()
            {
                return false;
            }
        }
        while let Some(sent) = self.endpoint.poll_transmit() {
            self.send(&sent.message).await;
        }
        self.srtp.is_some()
    }

    /// Sends bytes as they are. Holds on to the socket alone: keys cannot be shared between threads.
    pub fn send<'a>(&'a self, bytes: &'a [u8]) -> impl Future<Output = ()> + Send + 'a {
        let (socket, to) = (&self.socket, self.to);
        async move {
            let _ = socket.send_to(bytes, to).await.unwrap();
        }
    }

    /// An RTP packet under the session's keys.
    pub fn seal(&mut self, packet: &[u8]) -> Vec<u8> {
        self.srtp.as_mut().unwrap().0.encrypt_rtp(packet).unwrap().to_vec()
    }

    /// The same for what may be no packet.
    pub fn try_seal(&mut self, packet: &[u8]) -> Result<Vec<u8>, String> {
        let sealed = self.srtp.as_mut().unwrap().0.encrypt_rtp(packet);
        sealed.map(|sealed| sealed.to_vec()).map_err(|error| error.to_string())
    }

    /// RTCP packets under the session's keys.
    pub fn seal_rtcp(&mut self, packets: &[u8]) -> Vec<u8> {
        self.srtp.as_mut().unwrap().0.encrypt_rtcp(packets).unwrap().to_vec()
    }

    /// The next datagram that makes sense; None if none comes in time.
    pub async fn next(&mut self, patience: Duration) -> Option<Incoming> {
        let mut buffer = vec![0; 65_536];
        let next = async {
            loop {
                let Ok((length, _)) = self.socket.recv_from(&mut buffer).await else { continue };
                if let Some(incoming) = take(&mut self.endpoint, &mut self.srtp, &buffer[..length]) {
                    return incoming;
                }
            }
        };
        tokio::time::timeout(patience, next).await.ok()
    }
}

fn take(endpoint: &mut Endpoint, srtp: &mut Option<(Context, Context)>, datagram: &[u8]) -> Option<Incoming> {
    match (*datagram.first()?, datagram.get(1)) {
        (0..4, _) => Some(Incoming::Stun(datagram.to_vec())),
        (20..64, _) => {
            let there = ([127, 0, 0, 1], 2).into();
            let events = endpoint.read(Instant::now(), there, None, BytesMut::from(datagram)).unwrap_or_default();
            if events.iter().any(|event| matches!(event, EndpointEvent::HandshakeComplete)) {
                *srtp = Some(contexts(endpoint, there));
            }
            Some(Incoming::Dtls)
        }
        (128.., Some(192..224)) => {
            srtp.as_mut()?.1.decrypt_rtcp(datagram).ok().map(|plain| Incoming::Rtcp(plain.to_vec()))
        }
        (128.., _) => srtp.as_mut()?.1.decrypt_rtp(datagram).ok().map(|plain| Incoming::Rtp(plain.to_vec())),
        _ => None,
    }
}

/// What seals and what opens: of AES-GCM with 128 bits, keys have 16 bytes and salts 12 (RFC 7714, RFC 5764).
fn contexts(endpoint: &Endpoint, there: SocketAddr) -> (Context, Context) {
    let provider = rtc_crypto::default_provider().unwrap();
    let state = endpoint.get_connection_state(there).unwrap();
    let material = state.export_keying_material("EXTRACTOR-dtls_srtp", &[], 56).unwrap();
    let material = material.as_ref();
    let context = |at: usize| {
        let (key, salt) = (&material[16 * at..][..16], &material[32 + 12 * at..][..12]);
        Context::new(key, salt, ProtectionProfile::AeadAes128Gcm, None, None, provider.crypto()).unwrap()
    };
    (context(0), context(1))
}

/// An RTP packet.
pub fn rtp((ssrc, payload_type): (u32, u8), sequence: u16, timestamp: u32, marker: bool, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type | if marker { 0x80 } else { 0 }];
    packet.extend(sequence.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}

/// The payloads of a picture of H.264: parameter sets before a key frame, then fragments of one slice.
pub fn picture(key: bool, bytes: usize) -> Vec<Vec<u8>> {
    const SPS: &[u8] = &[0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe8, 0x06, 0xd0, 0xa1, 0x35];
    const PPS: &[u8] = &[0x68, 0xce, 0x06, 0xe2];
    let mut payloads = Vec::new();
    if key {
        let unit = |unit: &[u8]| [&(unit.len() as u16).to_be_bytes(), unit].concat();
        payloads.push([vec![0x78], unit(SPS), unit(PPS)].concat());
    }
    let kind = if key { 5 } else { 1 };
    let count = bytes.div_ceil(1_100);
    for at in 0..count {
        let place = if at == 0 { 0x80 } else { 0 } | if at + 1 == count { 0x40 } else { 0 };
        let mut payload = vec![0x7c, place | kind];
        payload.extend((0..bytes.div_ceil(count)).map(|i| (i * 31 + at) as u8 | 1));
        payloads.push(payload);
    }
    if count == 1 {
        // A fragment is never a whole unit.
        let (head, body) = (0x60 | kind, payloads.pop().unwrap());
        payloads.push([&[head], &body[2..]].concat());
    }
    payloads
}
