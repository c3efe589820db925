//! What the fuzz targets in `tests/fuzz` call, and a unit test with their seeds: each takes any bytes through one part that
//! reads what strangers send, and asserts what must hold whatever comes. Compiled for tests and for fuzzing alone.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use rtc_sdp::description::session::SessionDescription;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::batch::Batch;
use super::dtls::{Dtls, Fingerprint, Identity, Step};
use super::header::{Outgoing, Packet};
use super::ice::{Credentials, Path};
use super::intake::{Intake, Section};
use super::lane::Lane;
use super::playing::{Agreed, Playing};
use super::sdp::{Accepted, Answer, Candidate, Fragment, Offer};
use super::srtp::{Keys, Srtp};
use super::stun::{self, Request};
use super::transport::{Received, Transport};
use super::{whep, whip};
use crate::access::StreamName;
use crate::hub::{Source, Status, StreamState};
use crate::media::{Codec, Config, Frame, Kind, Time, codec};

/// An offer to publish and to play: what is answered is a session description that says no more than it was asked.
pub fn offer(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let offer = match Offer::read(text) {
        Ok(offer) => offer,
        Err(error) => return assert!(error.to_string().len() < 400, "{error}"),
    };
    if let Some((accepted, sections)) = whip::accept(&offer) {
        assert!(sections.len() <= 2);
        answered(text, &offer, &accepted);
    }
    for status in STATUS.iter() {
        let drawn = |ssrc| whep::Drawn { ssrc, repair: ssrc + 1, first: 7 };
        let chosen = whep::choose(&offer, status, [drawn(1), drawn(3)], "show");
        let accepted: Vec<_> = chosen.into_iter().map(|choice| choice.map(|choice| choice.accepted)).collect();
        answered(text, &offer, &accepted);
    }
}

fn answered(text: &str, offer: &Offer, accepted: &[Option<Accepted>]) {
    let local = Credentials { fragment: "ours".into(), password: "secret".into() };
    let candidates = [Candidate { address: ([192, 0, 2, 1], 9).into(), tcp: false, preference: 1 }];
    let sections: Vec<_> = offer.media.iter().zip(accepted.iter().cloned()).collect();
    let answer = Answer {
        session: 1,
        local: &local,
        fingerprint: "sha-256 AB",
        active: false,
        candidates: &candidates,
        sections: &sections,
    };
    let answer = answer.to_string();
    let whole = answer.strip_suffix("\r\n").unwrap();
    for line in whole.split("\r\n") {
        let form = line.as_bytes().first().is_some_and(u8::is_ascii_lowercase) && line.as_bytes().get(1) == Some(&b'=');
        assert!(form && !line.contains(['\r', '\n']), "{line:?}");
    }
    let media = whole.split("\r\n").filter(|line| line.starts_with("m=")).count();
    assert_eq!(media, offer.media.len());
    assert!(answer.len() <= 2 * text.len() + 1_000 * (media + 1), "{} bytes of {}", answer.len(), text.len());
    SessionDescription::unmarshal(&mut std::io::Cursor::new(answer.as_bytes())).unwrap();
}

/// A fragment that a session is patched with.
pub fn fragment(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(fragment) = Fragment::read(text) {
        assert!(fragment.candidates <= text.len() / 12);
        assert!(fragment.fragment.is_none_or(|fragment| !fragment.is_empty() && !fragment.contains(['\r', '\n'])));
    }
}

/// A STUN message: only who knows the password is answered, and the answer is a message of its own that says where to.
pub fn stun(data: &[u8]) {
    let provider = IDENTITY.provider();
    assert!(stun::discovered(data, [0; 12]).is_none_or(|address| !address.to_string().is_empty()));
    let Some(mut request) = Request::read(data) else { return };
    assert!(!request.proves("a password that no corpus can know", provider.crypto()));
    let from = "192.0.2.7:4000".parse().unwrap();
    let answer = request.answer(from, "secret", provider.crypto()).unwrap();
    assert!(answer.len() <= 128, "no more than was asked with");
    assert_eq!(stun::discovered(&answer, data[8..20].try_into().unwrap()), Some(from));
}

/// An RTP header with its extensions.
pub fn header(data: &[u8]) {
    let packet = Bytes::copy_from_slice(data);
    let Some(read) = Packet::read(&packet) else { return };
    assert!(read.payload.len() + 12 <= packet.len());
    let values: usize = (1..=255).filter_map(|number| read.extension(number)).map(<[u8]>::len).sum();
    assert!(values <= packet.len());
}

/// A publisher's packets and reports. Each step is an operation, a length, and so many bytes.
pub fn rtp(data: &[u8]) {
    let start = Instant::now();
    let mut now = start;
    let mut intake = Intake::new(sections(), 1, Duration::from_secs(2), now);
    let mut sequences = [0_u16; 8];
    for (operation, bytes) in steps(data) {
        match operation & 7 {
            0 => intake.rtp(&Bytes::copy_from_slice(bytes), now),
            1 => intake.rtcp(Bytes::copy_from_slice(bytes), now),
            2 => now += Duration::from_millis(bytes.iter().map(|byte| u64::from(*byte)).sum()),
            _ => drop(plausible(operation, bytes, &mut sequences).map(|packet| intake.rtp(&packet, now))),
        }
        let mut bytes = 0;
        while let Some(came) = intake.frame(now) {
            assert!(came.layer < 3);
            bytes += came.frame.payload.len();
            if came.frame.kind() == Kind::Video {
                assert!(!came.frame.payload.is_empty());
            }
        }
        // What comes out came in, with a length of four bytes before every unit of one byte or more.
        assert!(bytes <= 8 * data.len(), "{bytes} bytes");
        let mut out = Vec::new();
        intake.urgent(now, &mut out);
        assert!(out.len() <= 4_096, "{} bytes of requests", out.len());
        intake.report(now, &mut out);
        out.extend(intake.feedback().unwrap_or_default());
        rtc_rtcp::packet::unmarshal(&mut Bytes::from(out)).unwrap();
    }
}

/// A packet with a header that makes sense: the operation says which stream, the first bytes how it differs from the last.
fn plausible(operation: u8, bytes: &[u8], sequences: &mut [u16; 8]) -> Option<Bytes> {
    let (&[step, time], payload) = bytes.split_first_chunk()?;
    let stream = usize::from(operation >> 3 & 7);
    sequences[stream] = sequences[stream].wrapping_add(u16::from(step & 15)).wrapping_sub(u16::from(step >> 4 & 3));
    let head = Outgoing {
        marker: operation & 0x40 != 0,
        payload_type: [96, 97, 98, 99, 100, 101, 102, 111][stream],
        sequence: sequences[stream],
        timestamp: u32::from(time) * 1_000,
        ssrc: [5, 6, 7, 7, 7, 7, 8, 9][stream],
        transport_wide: (operation & 0x80 != 0).then_some((4, sequences[stream])),
    };
    let mut packet = Vec::new();
    head.write(&mut packet);
    packet.extend(payload);
    Some(packet.into())
}

fn sections() -> Vec<Section> {
    let codecs = vec![(96, Codec::H264), (98, Codec::H265), (99, Codec::Vp8), (100, Codec::Vp9), (101, Codec::Av1)];
    let section = Section {
        mid: "0".into(),
        codecs,
        repairs: vec![(97, 96), (102, 99)],
        nack: true,
        sources: vec![(5, Some(6))],
        layers: Vec::new(),
        extensions: [Some(1), Some(2), Some(3), Some(4)],
    };
    let audio = Section {
        mid: "1".into(),
        codecs: vec![(111, Codec::Opus)],
        repairs: Vec::new(),
        nack: false,
        sources: vec![(9, None)],
        ..section.clone()
    };
    vec![section, audio]
}

/// A viewer's reports and requests: what is sent again is bounded.
pub fn rtcp(data: &[u8]) {
    let mut lane = Lane::new(Kind::Video, 0);
    for ms in (0..2_000).step_by(40) {
        lane.push(&picture(ms, ms % 1_000 == 0));
    }
    let mut now = Instant::now();
    let agreed =
        |codec, ssrc, repair| Agreed { codec, ssrc, payload_type: 96, repair, transport_wide: Some(3), first: 65_500 };
    let video = agreed(Codec::Vp8, 5, Some((6, 97)));
    let name = StreamName::new("show").unwrap();
    let mut playing = Playing::new(name, (Some(video), Some(agreed(Codec::Opus, 7, None))), None, now);
    let mut srtp = Srtp::new(&keys(false), IDENTITY.provider().crypto()).unwrap();
    let mut batch = Batch::new(64);
    batch.to(PATH);
    playing.video.as_mut().unwrap().outlet.begin(0, &lane, true);
    playing.send(Kind::Video, |_| Some(&lane), (&mut srtp, &mut batch), (usize::MAX, now));
    batch.drain(|_, _, _| {});
    let mut sent = 0;
    for (operation, bytes) in steps(data) {
        if operation & 1 == 1 {
            now += Duration::from_millis(bytes.iter().map(|byte| u64::from(*byte)).sum());
        }
        let packets = Bytes::copy_from_slice(bytes);
        playing.rtcp(packets, |_, _| Some(&lane), (&mut srtp, &mut batch), now);
        batch.drain(|_, bytes, size| sent += bytes.len().div_ceil(size));
    }
    assert!(sent <= 250, "{sent} packets again within a second");
    playing.report(now, SystemTime::now());
    playing.advise(now, &[3e6, 1e6], 0);
}

fn picture(ms: i64, key: bool) -> Frame {
    let config = VP8.clone();
    let at = Time::from_millis(ms);
    Frame { dts: at, pts: at, key, cut: None, config, payload: vec![ms as u8; 3_000].into() }
}

/// Datagrams to a session that shakes hands, and to one whose media flows, over a path that is proven and over another.
pub fn session(data: &[u8]) {
    let now = Instant::now();
    let (client, server) =
        (data.first().is_some_and(|byte| byte & 1 == 1), data.first().is_some_and(|byte| byte & 2 == 2));
    let mut transport = new_transport(client, now);
    let stranger = Path { remote: ([192, 0, 2, 2], 9).into(), ..PATH };
    let mut out = Vec::new();
    let asks = Request::read(&REQUEST).unwrap();
    assert!(matches!(transport.request(asks, PATH, now, &mut out), Received::Paths));
    if server {
        transport.open(Srtp::new(&keys(false), IDENTITY.provider().crypto()).unwrap());
    }
    for (operation, datagram) in steps(data.get(1..).unwrap_or_default()) {
        out.clear();
        let path = if operation & 1 == 1 { stranger } else { PATH };
        let received = match Request::read(datagram).filter(|_| operation & 2 == 2) {
            Some(request) => transport.request(request, path, now, &mut out),
            None => transport.datagram(path, datagram, now, &mut out),
        };
        assert!(operation & 1 == 0 || (matches!(received, Received::Nothing) && out.is_empty()), "{received:?}");
        assert!(!matches!(received, Received::Rtp(_) | Received::Rtcp(_) | Received::Connected), "{received:?}");
        assert!(out.iter().all(|(path, _)| *path == PATH));
        let _ = transport.tick(now + Duration::from_secs(u64::from(operation >> 4)), &mut out);
    }
}

/// A handshake whose datagrams are changed on the way: each step of the input says what becomes of one.
pub fn dtls(data: &[u8]) {
    let (client, server) = (&*PEER, &*IDENTITY);
    let fingerprint = |identity: &Identity| Fingerprint::parse(identity.fingerprint()).unwrap();
    let mut client = Dtls::new(client, true, fingerprint(server)).unwrap();
    let mut server = Dtls::new(server, false, fingerprint(&PEER)).unwrap();
    let mut now = Instant::now();
    client.begin(now).unwrap();
    let mut changes = steps(data);
    let mut untouched = true;
    let mut keys: [Option<Keys>; 2] = [None, None];
    for _ in 0..24 {
        for turn in [0, 1] {
            loop {
                let (from, to) = if turn == 0 { (&mut client, &mut server) } else { (&mut server, &mut client) };
                let Some(datagram) = from.outgoing() else { break };
                let mut datagram = datagram.to_vec();
                let changed = changes.next().is_some_and(|(operation, bytes)| change(operation, bytes, &mut datagram));
                untouched &= !changed;
                match to.read(&datagram, now) {
                    Step::Established(found) => keys[1 - turn] = Some(found),
                    Step::Closed(_) => return,
                    Step::Nothing => {}
                }
            }
        }
        now += Duration::from_millis(600);
        if client.timeout(now).is_err() || server.timeout(now).is_err() {
            return;
        }
    }
    assert!(!untouched || keys.iter().all(Option::is_some));
}

/// Says whether it made a difference.
fn change(operation: u8, bytes: &[u8], datagram: &mut Vec<u8>) -> bool {
    let before = datagram.clone();
    match operation & 3 {
        0 => {}
        1 => {
            for pair in bytes.chunks_exact(3) {
                let at = usize::from(u16::from_be_bytes([pair[0], pair[1]])) % datagram.len().max(1);
                if let Some(byte) = datagram.get_mut(at) {
                    *byte ^= pair[2];
                }
            }
        }
        2 => datagram.truncate(usize::from(bytes.first().copied().unwrap_or(0)) * 4),
        _ => datagram.extend(bytes),
    }
    *datagram != before
}

/// Operations: a byte, a length in two, and so many bytes.
fn steps(mut data: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (&[operation, high, low], rest) = data.split_first_chunk()?;
        let (bytes, rest) = rest.split_at(usize::from(u16::from_be_bytes([high, low])).min(rest.len()));
        data = rest;
        Some((operation, bytes))
    })
    .take(MOST_STEPS)
}

fn new_transport(client: bool, now: Instant) -> Transport {
    let local = Credentials { fragment: "ours".into(), password: "secret".into() };
    let fingerprint = Fingerprint::parse(PEER.fingerprint()).unwrap();
    Transport::new(&IDENTITY, local, ("theirs".into(), fingerprint), client, now).unwrap()
}

fn keys(client: bool) -> Keys {
    Keys::split(ProtectionProfile::AeadAes128Gcm, &[7; 56], client).unwrap()
}

fn status(video: Arc<Config>, reordered: bool) -> Status {
    let source = Source { protocol: "rtmp", peer: ([192, 0, 2, 1], 9).into(), client: String::new(), key: None };
    Status {
        state: StreamState::Live,
        source,
        video: Some(video),
        audio: super::track::opus_config(),
        sessions: 1,
        frames: 1,
        bytes: 1,
        pictures: 0,
        key_interval: None,
        counts: Default::default(),
        waiting: None,
        since: SystemTime::UNIX_EPOCH,
        reordered,
        declared: crate::hub::Declared::default(),
    }
}

const SPS: &[u8] = &[0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe8, 0x06, 0xd0, 0xa1, 0x35];
const PPS: &[u8] = &[0x68, 0xce, 0x06, 0xe2];
const PATH: Path = Path {
    remote: std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9),
    local: None,
    tcp: None,
};
const MOST_STEPS: usize = 400;

static IDENTITY: LazyLock<Identity> = LazyLock::new(|| Identity::new().unwrap());
static PEER: LazyLock<Identity> = LazyLock::new(|| Identity::new().unwrap());
static REQUEST: LazyLock<Vec<u8>> = LazyLock::new(|| stun::request("ours:theirs", "secret", 1, true));
static VP8: LazyLock<Arc<Config>> = LazyLock::new(|| {
    Arc::new(codec::vp8(&Bytes::from_static(&[0x10, 2, 0, 0x9d, 1, 0x2a, 0x80, 2, 0x68, 1])).unwrap())
});
static STATUS: LazyLock<[Status; 3]> = LazyLock::new(|| {
    let h264 = Arc::new(codec::h264_sets(&Bytes::from_static(SPS), &[Bytes::from_static(PPS)]).unwrap());
    [status(h264.clone(), false), status(h264, true), status(VP8.clone(), false)]
});

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    /// Every seed goes through its target, which keeps the seeds true to what is fuzzed.
    #[test]
    fn the_seeds_hold() {
        type Target = (&'static str, fn(&[u8]));
        let targets: [Target; 8] = [
            ("offer", super::offer),
            ("sdp_fragment", super::fragment),
            ("stun", super::stun),
            ("rtp_header", super::header),
            ("rtp", super::rtp),
            ("rtcp", super::rtcp),
            ("session", super::session),
            ("dtls", super::dtls),
        ];
        for (name, target) in targets {
            let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(name);
            let seeds: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert!(!seeds.is_empty(), "{}", folder.display());
            for seed in seeds {
                target(&std::fs::read(seed).unwrap());
            }
            target(&[]);
        }
    }
}
