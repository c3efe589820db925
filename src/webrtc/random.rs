//! Random texts and numbers: session ids, ICE credentials, SSRCs. From the system's generator, by way of the crypto provider.

use rtc_crypto::{CryptoError, RTCCryptoProvider};

/// Letters and digits alone: what an ICE credential (RFC 8839 section 5.4) and a path may both hold. 64 of them, so that
/// six random bits choose one evenly.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A text of so many characters, six random bits each.
pub(super) fn text(provider: &dyn RTCCryptoProvider, length: usize) -> Result<String, CryptoError> {
    let mut bytes = vec![0; length];
    provider.random().fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte & 63)])).collect())
}

/// A text that may stand in a path: hexadecimal digits, four random bits each.
pub(super) fn hex(provider: &dyn RTCCryptoProvider, length: usize) -> Result<String, CryptoError> {
    let mut bytes = vec![0; length];
    provider.random().fill(&mut bytes)?;
    Ok(bytes.iter().filter_map(|byte| char::from_digit(u32::from(byte & 15), 16)).collect())
}

/// Any number.
pub(super) fn number(provider: &dyn RTCCryptoProvider) -> Result<u32, CryptoError> {
    let mut bytes = [0; 4];
    provider.random().fill(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn texts_have_their_length_and_differ() {
        let provider = rtc_crypto::default_provider().unwrap();
        let texts: Vec<_> = (0..100).map(|_| text(&*provider, 22).unwrap()).collect();
        assert!(texts.iter().all(|text| text.len() == 22 && text.bytes().all(|b| LETTERS.contains(&b))));
        assert!((1..100).all(|i| !texts[i..].contains(&texts[i - 1])));
        assert!(hex(&*provider, 32).unwrap().bytes().all(|b| b.is_ascii_hexdigit()));
    }
}
