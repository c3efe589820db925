//! SRTP and SRTCP of one session (RFC 3711, RFC 7714). Packets to viewers with AES-GCM are sealed where they stand in the
//! send buffer, since that is what the server does most; all else goes through the library. Never looks at media.

use std::fmt;

use bytes::BytesMut;
use rtc_crypto::{AeadAlgorithm, AeadCipher, BlockCipherAlgorithm, CryptoError, RTCCrypto};
use rtc_shared::error::{Error as Library, Result};
use rtc_srtp::context::Context;
use rtc_srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc_srtp::protection_profile::ProtectionProfile;

/// The keys of one session, both ways. Never printed.
#[derive(Clone)]
pub(super) struct Keys {
    profile: ProtectionProfile,
    local: Master,
    remote: Master,
}

/// A master key and its salt.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Master {
    key: Vec<u8>,
    salt: Vec<u8>,
}

impl Keys {
    /// From what DTLS exports (RFC 5764 section 4.2): both keys, then both salts, the client's first.
    pub(super) fn split(profile: ProtectionProfile, material: &[u8], client: bool) -> Result<Keys> {
        let (key, salt) = (profile.key_len(), profile.salt_len());
        if material.len() != 2 * (key + salt) {
            return Err(Library::Other(format!("{} bytes of keying material", material.len())));
        }
        let master = |at: usize| Master {
            key: material[at * key..][..key].to_vec(),
            salt: material[2 * key + at * salt..][..salt].to_vec(),
        };
        let (ours, theirs) = if client { (0, 1) } else { (1, 0) };
        Ok(Keys { profile, local: master(ours), remote: master(theirs) })
    }

    /// What we protect with.
    #[cfg(test)]
    pub(super) fn local(&self) -> &Master {
        &self.local
    }

    /// What the peer protects with.
    #[cfg(test)]
    pub(super) fn remote(&self) -> &Master {
        &self.remote
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} keys", self.profile)
    }
}

impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a master key")
    }
}

/// Both directions of one session.
pub(super) struct Srtp {
    seal: Option<Gcm>,
    local: Context,
    remote: Context,
    known: Vec<u32>,
    strangers: u32,
}

impl Srtp {
    /// With the keys of a finished handshake.
    pub(super) fn new(keys: &Keys, crypto: &dyn RTCCrypto) -> Result<Srtp> {
        let Keys { profile, local, remote } = keys;
        let seal = match profile {
            ProtectionProfile::AeadAes128Gcm => Some(Gcm::new(local, crypto).map_err(failed)?),
            _ => None,
        };
        let context = |master: &Master, replay: bool| {
            let srtp = replay.then(|| srtp_replay_protection(REPLAY));
            let srtcp = replay.then(|| srtcp_replay_protection(REPLAY));
            Context::new(&master.key, &master.salt, *profile, srtp, srtcp, crypto)
        };
        let (local, remote) = (context(local, false)?, context(remote, true)?);
        Ok(Srtp { seal, local, remote, known: Vec::new(), strangers: 0 })
    }

    /// Protects the RTP packet that stands at `out[start..]`, whose header has `header` bytes, and appends its tag. `index`:
    /// the sequence number without wrapping. False, and the packet taken back, if that fails.
    pub(super) fn protect(&mut self, out: &mut Vec<u8>, start: usize, header: usize, ssrc: u32, index: u64) -> bool {
        if let Some(gcm) = &mut self.seal {
            return gcm.seal(out, start, header, ssrc, index);
        }
        let sealed = self.local.encrypt_rtp(&out[start..]);
        out.truncate(start);
        let Ok(packet) = sealed else { return false };
        out.extend_from_slice(&packet);
        true
    }

    /// Protects RTCP packets.
    pub(super) fn protect_rtcp(&mut self, packets: &[u8]) -> Result<BytesMut> {
        self.local.encrypt_rtcp(packets)
    }

    /// Opens an RTP packet; None unless the peer sent it, and sent it once.
    pub(super) fn open(&mut self, packet: &[u8]) -> Option<BytesMut> {
        let ssrc = packet.get(8..12)?;
        self.opened(ssrc, |remote| remote.decrypt_rtp(packet))
    }

    /// Opens RTCP packets; None unless the peer sent them.
    pub(super) fn open_rtcp(&mut self, packet: &[u8]) -> Option<BytesMut> {
        let ssrc = packet.get(4..8)?;
        self.opened(ssrc, |remote| remote.decrypt_rtcp(packet))
    }

    /// The library keeps something for every SSRC it is shown, proven or not: so strangers are counted.
    fn opened(&mut self, ssrc: &[u8], open: impl FnOnce(&mut Context) -> Result<BytesMut>) -> Option<BytesMut> {
        let ssrc = u32::from_be_bytes(ssrc.try_into().ok()?);
        let known = self.known.contains(&ssrc);
        if !known && self.strangers >= MOST_STRANGERS {
            return None;
        }
        let opened = open(&mut self.remote).ok();
        if !known {
            self.strangers += 1;
            if opened.is_some() && self.known.len() < MOST_KNOWN {
                self.known.push(ssrc);
                self.strangers -= 1;
            }
        }
        opened
    }
}

impl fmt::Debug for Srtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Srtp").field("gcm", &self.seal.is_some()).field("known", &self.known).finish_non_exhaustive()
    }
}

/// AEAD_AES_128_GCM for RTP, RFC 7714 section 8.
struct Gcm {
    cipher: Box<dyn AeadCipher>,
    salt: [u8; 12],
}

impl Gcm {
    fn new(master: &Master, crypto: &dyn RTCCrypto) -> std::result::Result<Gcm, CryptoError> {
        let key = derive(master, LABEL_KEY, crypto)?;
        let salt = derive(master, LABEL_SALT, crypto)?;
        let cipher = crypto.new_aead(AeadAlgorithm::Aes128Gcm, &key)?;
        let mut nonce = [0; 12];
        nonce.copy_from_slice(&salt[..12]);
        Ok(Gcm { cipher, salt: nonce })
    }

    fn seal(&mut self, out: &mut Vec<u8>, start: usize, header: usize, ssrc: u32, index: u64) -> bool {
        let mut nonce = [0; 12];
        nonce[2..6].copy_from_slice(&ssrc.to_be_bytes());
        nonce[6..12].copy_from_slice(&index.to_be_bytes()[2..]);
        nonce.iter_mut().zip(self.salt).for_each(|(byte, salt)| *byte ^= salt);
        let mut tag = [0; 16];
        let (head, body) = out[start..].split_at_mut(header);
        if self.cipher.seal_in_place(&nonce, head, body, &mut tag).is_err() {
            out.truncate(start);
            return false;
        }
        out.extend_from_slice(&tag);
        true
    }
}

/// One block of the key derivation function, RFC 3711 section 4.3.3: AES of the salt with the label in it. A key of 128
/// bits and a salt of 96 are one block or less.
fn derive(master: &Master, label: u8, crypto: &dyn RTCCrypto) -> std::result::Result<[u8; 16], CryptoError> {
    let mut block = [0; 16];
    let salt = master.salt.len().min(14);
    block[..salt].copy_from_slice(&master.salt[..salt]);
    block[7] ^= label;
    crypto.block_encrypt(BlockCipherAlgorithm::Aes128, &master.key, &mut block)?;
    Ok(block)
}

fn failed(error: CryptoError) -> Library {
    Library::Crypto(error.to_string())
}

const LABEL_KEY: u8 = 0;
const LABEL_SALT: u8 = 2;
/// Packets; a second of a fast publisher.
const REPLAY: usize = 1_024;
/// SSRCs of one peer: three layers and their repairs, sound, and as many again after each renegotiation.
const MOST_KNOWN: usize = 64;
/// SSRCs that were never proven. A peer has none; who forges addresses has as many as it likes.
const MOST_STRANGERS: u32 = 256;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PROFILES: [ProtectionProfile; 2] = [ProtectionProfile::AeadAes128Gcm, ProtectionProfile::Aes128CmHmacSha1_80];

    fn ends(profile: ProtectionProfile) -> (Srtp, Srtp) {
        let provider = rtc_crypto::default_provider().unwrap();
        let material: Vec<u8> = (0..2 * (profile.key_len() + profile.salt_len())).map(|i| (i * 7) as u8).collect();
        let end = |client| Srtp::new(&Keys::split(profile, &material, client).unwrap(), provider.crypto()).unwrap();
        (end(true), end(false))
    }

    fn packet(ssrc: u32, sequence: u16) -> Vec<u8> {
        let mut packet = vec![0x80, 96];
        packet.extend(sequence.to_be_bytes());
        packet.extend([0, 0, 0, 9]);
        packet.extend(ssrc.to_be_bytes());
        packet.extend(b"some payload");
        packet
    }

    #[test]
    fn what_one_end_protects_the_other_opens_once_and_across_the_wrap() {
        for profile in PROFILES {
            let (mut a, mut b) = ends(profile);
            for index in 65_000_u64..66_000 {
                let plain = packet(5, index as u16);
                let mut out = b"before".to_vec();
                out.extend(&plain);
                assert!(a.protect(&mut out, 6, 12, 5, index - 65_000 + 65_000));
                assert_eq!(&out[..6], b"before");
                assert_ne!(&out[18..30], &plain[12..]);
                assert_eq!(b.open(&out[6..]).unwrap(), plain, "{profile:?} {index}");
                assert!(b.open(&out[6..]).is_none(), "a replay");
                out[20] ^= 1;
                assert!(b.open(&out[6..]).is_none());
            }
        }
    }

    #[test]
    fn rtcp_goes_both_ways() {
        for profile in PROFILES {
            let (mut a, mut b) = ends(profile);
            let report = [0x80, 201, 0, 1, 0, 0, 0, 7];
            let sealed = a.protect_rtcp(&report).unwrap();
            assert_eq!(&b.open_rtcp(&sealed).unwrap()[..], &report);
            assert!(b.open_rtcp(&report).is_none());
        }
    }

    #[test]
    fn strangers_are_turned_away_before_they_cost_memory() {
        let (mut a, mut b) = ends(ProtectionProfile::AeadAes128Gcm);
        let mut good = packet(5, 1);
        assert!(a.protect(&mut good, 0, 12, 5, 1));
        assert!(b.open(&good).is_some());
        for ssrc in 1_000..3_000 {
            assert!(b.open(&[packet(ssrc, 1), vec![0; 16]].concat()).is_none());
        }
        assert_eq!(b.strangers, MOST_STRANGERS);
        let mut next = packet(5, 2);
        assert!(a.protect(&mut next, 0, 12, 5, 2));
        assert!(b.open(&next).is_some(), "who is known goes on");
    }
}
