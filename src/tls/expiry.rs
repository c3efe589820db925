//! Until when a certificate holds: the one field of it that operators must not miss. Reads no more of X.509 than the way
//! there (RFC 5280 section 4.1).

/// The end of a certificate's validity, in seconds of Unix time. None: it cannot be read.
pub(super) fn of(certificate: &[u8]) -> Option<i64> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut fields, _) = element(certificate, SEQUENCE)?;
    // The version may be left out.
    if let Some((_, rest)) = element(fields, VERSION) {
        fields = rest;
    }
    for before in [INTEGER, SEQUENCE, SEQUENCE] {
        (_, fields) = element(fields, before)?;
    }
    let (validity, _) = element(fields, SEQUENCE)?;
    let (_, end) = element(validity, UTC_TIME).or_else(|| element(validity, TIME))?;
    match element(end, UTC_TIME) {
        // Two digits of the year: 50 to 99 are of the last century.
        Some((text, _)) => {
            let year = digits(text, 0)?;
            seconds(if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..)?)
        }
        None => {
            let (text, _) = element(end, TIME)?;
            seconds(digits(text, 0)? * 100 + digits(text, 2)?, text.get(4..)?)
        }
    }
}

/// The content of the element that a text begins with, if it is of this kind, and what is behind it. DER, X.690 section 8.1.
fn element(text: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, short], rest) = text.split_first_chunk()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match short {
        0..=0x7f => (usize::from(short), rest),
        // The length of the length: a certificate is shorter than 4 GiB. 0x80 is not DER.
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// Of a month, day, hour, minute and second in two digits each, and a Z.
fn seconds(year: i64, text: &[u8]) -> Option<i64> {
    let (month, day) = (digits(text, 0)?, digits(text, 2)?);
    let (hour, minute, second) = (digits(text, 4)?, digits(text, 6)?, digits(text, 8)?);
    if !(1..=12).contains(&month) {
        return None;
    }
    // Years that begin in March have their odd day at the end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = year * 365 + leaps + (month * 153 + 2) / 5 + day - 1 - DAYS_BEFORE_1970;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

fn digits(text: &[u8], at: usize) -> Option<i64> {
    std::str::from_utf8(text.get(at..at + 2)?).ok()?.parse().ok()
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
/// GeneralizedTime: from the year 2050 on.
const TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
/// From the first of March of the year 0.
const DAYS_BEFORE_1970: i64 = 719_468;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn made(year: i32, month: u8, day: u8) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(vec!["live.example".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, month, day);
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_end_of_a_certificate_is_read() {
        assert_eq!(of(&made(1970, 1, 1)), Some(0));
        assert_eq!(of(&made(2028, 2, 29)), Some(1_835_395_200));
        assert_eq!(of(&made(2049, 12, 31)), Some(2_524_521_600));
        assert_eq!(of(&made(2100, 3, 1)), Some(4_107_542_400));
    }

    #[test]
    fn what_is_cut_off_or_changed_has_no_end_or_another() {
        let whole = made(2031, 2, 3);
        for length in 0..whole.len().min(200) {
            assert_eq!(of(&whole[..length]), None, "{length}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x55;
            // Whatever it says, it says it.
            let _ = of(&changed);
        }
    }
}
