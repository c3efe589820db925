//! A publisher and a viewer that go by the rules, and that nothing beside them may disturb.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc_rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc_rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc_rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use tokio::task::JoinHandle;

use super::support::Headwater;
use super::support::webrtc::{Incoming, Peer, VIDEO, picture, rtp};

/// A publisher of 30 pictures a second in a task of its own.
pub(crate) struct Publisher {
    task: JoinHandle<()>,
    /// When it was asked for key frames.
    pub(crate) asked: Arc<Mutex<Vec<Instant>>>,
}

impl Publisher {
    /// Publishes; `keys`: pictures from key frame to key frame, None for never one.
    pub(crate) fn start(peer: Peer, keys: Option<u32>) -> Publisher {
        let asked: Arc<Mutex<Vec<Instant>>> = Arc::default();
        Publisher { task: tokio::spawn(publish(peer, keys, asked.clone())), asked }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a viewer got.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) packets: u64,
    /// Numbers that were left out.
    pub(crate) lost: u64,
    last: Option<u16>,
}

/// A stream with one viewer.
pub(crate) struct Beside {
    _publisher: Publisher,
    viewer: JoinHandle<()>,
    seen: Arc<Mutex<Seen>>,
}

impl Beside {
    /// Starts both, and waits until media flows.
    pub(crate) async fn start(server: &Headwater, name: &str) -> Beside {
        let publisher = Publisher::start(Peer::join(server, &format!("/whip/{name}")).await, Some(30));
        let beside = Beside::watch(server, name, publisher).await;
        beside.goes_on().await;
        beside
    }

    async fn watch(server: &Headwater, name: &str, publisher: Publisher) -> Beside {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let viewer = tokio::spawn(view(Peer::join(server, &format!("/whep/{name}")).await, seen.clone()));
        Beside { _publisher: publisher, viewer, seen }
    }

    /// What came so far.
    pub(crate) fn seen(&self) -> Seen {
        *self.seen.lock().unwrap()
    }

    /// Two more seconds of pictures come; says how many packets were lost meanwhile.
    pub(crate) async fn goes_on(&self) -> u64 {
        let (before, start) = (self.seen(), Instant::now());
        while self.seen().packets < before.packets + 180 {
            assert!(start.elapsed() < Duration::from_secs(12), "the viewer beside it stands: {:?}", self.seen());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.seen().lost - before.lost
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.viewer.abort();
    }
}

async fn publish(mut peer: Peer, keys: Option<u32>, asked: Arc<Mutex<Vec<Instant>>>) {
    let mut tick = tokio::time::interval(Duration::from_micros(33_333));
    let (mut count, mut sequence) = (0_u32, 65_000_u16);
    let mut sent: VecDeque<(u16, Vec<u8>)> = VecDeque::new();
    loop {
        tokio::select! {
            _ = tick.tick() => {
                let payloads = picture(keys.is_some_and(|keys| count.is_multiple_of(keys)), 3_000);
                let last = payloads.len() - 1;
                for (at, payload) in payloads.iter().enumerate() {
                    let sealed = peer.seal(&rtp(VIDEO, sequence, count * 3_000, at == last, payload));
                    peer.send(&sealed).await;
                    sent.push_back((sequence, sealed));
                    sequence = sequence.wrapping_add(1);
                }
                sent.drain(..sent.len().saturating_sub(512));
                count += 1;
                if count.is_multiple_of(60) {
                    peer.send(&peer.request()).await;
                }
            }
            incoming = peer.next(Duration::from_secs(60)) => {
                let Some(Incoming::Rtcp(packets)) = incoming else { continue };
                for packet in rtc_rtcp::packet::unmarshal(&mut Bytes::from(packets)).unwrap() {
                    let packet = packet.as_any();
                    if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
                        for wanted in nack.nacks.iter().flat_map(|pair| pair.packet_list()) {
                            if let Some((_, sealed)) = sent.iter().find(|(sequence, _)| *sequence == wanted) {
                                peer.send(sealed).await;
                            }
                        }
                    } else if packet.is::<PictureLossIndication>() || packet.is::<FullIntraRequest>() {
                        asked.lock().unwrap().push(Instant::now());
                    }
                }
            }
        }
    }
}

async fn view(mut peer: Peer, seen: Arc<Mutex<Seen>>) {
    let mut consent = tokio::time::interval(Duration::from_secs(2));
    loop {
        tokio::select! {
            _ = consent.tick() => peer.send(&peer.request()).await,
            incoming = peer.next(Duration::from_secs(60)) => {
                let Some(Incoming::Rtp(packet)) = incoming else { continue };
                if packet[1] & 0x7f == VIDEO.1 {
                    let number = u16::from_be_bytes([packet[2], packet[3]]);
                    let mut seen = seen.lock().unwrap();
                    seen.packets += 1;
                    seen.lost += seen.last.map_or(0, |last| u64::from(number.wrapping_sub(last).wrapping_sub(1)));
                    seen.last = Some(number);
                }
            }
        }
    }
}
