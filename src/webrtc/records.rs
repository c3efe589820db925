//! Which DTLS records of a peer the library is shown. Anybody who makes an offer may send any, and some cost far more than
//! their bytes: the library puts fragments of a message together by recursion, and keeps without bound what comes out of
//! turn. Pure; `dtls` asks for every datagram before it goes in.

/// What came of one peer so far.
#[derive(Debug, Default)]
pub(super) struct Records {
    datagrams: u32,
    /// Handshake fragments that came in the clear: message number and offset.
    seen: Vec<(u16, u32)>,
    /// Handshake records that came under keys.
    sealed: u32,
    /// Datagrams after the handshake that repeat a part of it.
    late: u32,
}

/// What to do with a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The library may have it.
    Take,
    /// It means nothing, or would cost more than it is worth.
    Drop,
    /// Nobody needs so many to shake hands.
    TooMany,
}

/// What one record is.
enum Record {
    /// Handshake fragments in the clear: message number and offset of each.
    Clear(Vec<(u16, u32)>),
    /// A handshake message under keys.
    Sealed,
    /// Anything else.
    Other,
}

impl Records {
    /// Judges a datagram; `established`: the handshake is done.
    pub(super) fn judge(&mut self, datagram: &[u8], established: bool) -> Verdict {
        if !established {
            self.datagrams += 1;
            if self.datagrams > MOST_DATAGRAMS {
                return Verdict::TooMany;
            }
        }
        let Some(records) = read(datagram) else { return Verdict::Drop };
        let sealed = records.iter().filter(|record| matches!(record, Record::Sealed)).count() as u32;
        if self.sealed + sealed > MOST_SEALED {
            return if established { Verdict::Drop } else { Verdict::TooMany };
        }
        let clear = || {
            records.iter().flat_map(|record| match record {
                Record::Clear(fragments) => &fragments[..],
                _ => &[],
            })
        };
        let known = clear().all(|fragment| self.seen.contains(fragment));
        let verdict =
            if established { self.late(clear().next().is_some(), known) } else { self.early(&records, known) };
        if verdict == Verdict::Take {
            self.sealed += sealed;
            for fragment in clear() {
                if !self.seen.contains(fragment) {
                    self.seen.push(*fragment);
                }
            }
        }
        verdict
    }

    fn early(&self, records: &[Record], known: bool) -> Verdict {
        let fragments: usize = records.iter().map(Record::fragments).sum();
        if self.seen.len() + fragments > MOST_FRAGMENTS {
            return Verdict::TooMany;
        }
        // The library takes any handshake message for progress and stops its timer, so that a flight of ours that was lost
        // would never be sent again. The answer to the first message has no timer: it is given as often as it is asked for
        // (RFC 6347 section 4.2.1).
        let clear = records.iter().all(|record| matches!(record, Record::Clear(_)));
        let first = self.seen.iter().all(|(message, _)| *message == 0);
        if clear && known && !first { Verdict::Drop } else { Verdict::Take }
    }

    /// A peer that missed our last flight repeats its own; nothing else is said in the clear any more, and it may come from
    /// whoever writes the peer's address on it.
    fn late(&mut self, clear: bool, known: bool) -> Verdict {
        if !clear {
            return Verdict::Take;
        }
        if !known || self.late >= MOST_LATE {
            return Verdict::Drop;
        }
        self.late += 1;
        Verdict::Take
    }
}

impl Record {
    fn fragments(&self) -> usize {
        match self {
            Record::Clear(fragments) => fragments.len(),
            _ => 0,
        }
    }
}

/// The records of a datagram (RFC 6347 section 4.1); None where they do not fill it, or one of them makes no sense.
fn read(datagram: &[u8]) -> Option<Vec<Record>> {
    if datagram.is_empty() || datagram.len() > LONGEST {
        return None;
    }
    let (mut rest, mut records) = (datagram, Vec::new());
    while !rest.is_empty() {
        let (head, tail) = rest.split_at_checked(RECORD_HEADER)?;
        let (body, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes([head[11], head[12]])))?;
        rest = tail;
        let epoch = u16::from_be_bytes([head[3], head[4]]);
        records.push(match (head[0], epoch) {
            (HANDSHAKE, 0) => Record::Clear(fragments(body)?),
            (HANDSHAKE, 1) if body.len() <= LONGEST_SEALED => Record::Sealed,
            (HANDSHAKE, 1) => return None,
            (_, 0 | 1) => Record::Other,
            // Keys are agreed on once.
            _ => return None,
        });
    }
    Some(records)
}

/// The handshake fragments of a record in the clear (section 4.2.2): whole messages, or a part of one as the last.
fn fragments(mut body: &[u8]) -> Option<Vec<(u16, u32)>> {
    let mut found = Vec::new();
    while !body.is_empty() {
        let head = body.get(..MESSAGE_HEADER)?;
        let three = |at: usize| u32::from_be_bytes([0, head[at], head[at + 1], head[at + 2]]);
        let (whole, offset, length) = (three(1), three(6), three(9));
        let end = MESSAGE_HEADER + length as usize;
        body.get(..end)?;
        let partial = length < whole;
        let sane = whole <= LONGEST_MESSAGE && offset + length <= whole && (length > 0 || whole == 0);
        if !sane || (partial && end < body.len()) {
            return None;
        }
        found.push((u16::from_be_bytes([head[4], head[5]]), offset));
        body = &body[end..];
    }
    Some(found)
}

/// A handshake has some ten datagrams; more than these is somebody playing.
pub(super) const MOST_DATAGRAMS: u32 = 200;
/// The content type of handshake records.
const HANDSHAKE: u8 = 22;
const RECORD_HEADER: usize = 13;
const MESSAGE_HEADER: usize = 12;
/// In bytes. Handshakes keep to what a network carries, 1,500.
const LONGEST: usize = 4_096;
/// In bytes of a handshake message: a certificate with a long chain has 10,000.
const LONGEST_MESSAGE: u32 = 1 << 16;
/// In bytes: Finished with what seals it has 48 to 96.
const LONGEST_SEALED: usize = 128;
/// A handshake has one; each repeat of a flight brings one more.
const MOST_SEALED: u32 = 32;
/// A handshake has some ten messages; certificates come in a few pieces.
const MOST_FRAGMENTS: usize = 256;
const MOST_LATE: u32 = 32;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn record(kind: u8, epoch: u16, body: &[u8]) -> Vec<u8> {
        let mut record = vec![kind, 0xfe, 0xfd];
        record.extend(epoch.to_be_bytes());
        record.extend([0; 6]);
        record.extend((body.len() as u16).to_be_bytes());
        record.extend(body);
        record
    }

    /// A fragment of message `number`: its length, and what of it this is.
    fn fragment(number: u16, whole: u32, offset: u32, length: u32) -> Vec<u8> {
        let mut fragment = vec![1];
        fragment.extend(&whole.to_be_bytes()[1..]);
        fragment.extend(number.to_be_bytes());
        fragment.extend(&offset.to_be_bytes()[1..]);
        fragment.extend(&length.to_be_bytes()[1..]);
        fragment.resize(12 + length as usize, 7);
        fragment
    }

    fn clear(number: u16, whole: u32, offset: u32, length: u32) -> Vec<u8> {
        record(HANDSHAKE, 0, &fragment(number, whole, offset, length))
    }

    #[test]
    fn a_handshake_goes_through_and_its_repeats_do_not_stop_the_timer() {
        let mut records = Records::default();
        for _ in 0..3 {
            assert_eq!(records.judge(&clear(0, 100, 0, 100), false), Verdict::Take, "the first has no timer");
        }
        let flight = [clear(1, 900, 0, 500), clear(1, 900, 500, 400), record(20, 0, &[1]), record(22, 1, &[0; 48])];
        assert_eq!(records.judge(&flight.concat(), false), Verdict::Take);
        assert_eq!(records.judge(&clear(1, 900, 500, 400), false), Verdict::Drop);
        assert_eq!(records.judge(&flight.concat(), true), Verdict::Take, "our answer was lost");
        assert_eq!(records.judge(&record(21, 1, &[0; 40]), true), Verdict::Take, "a goodbye");
    }

    #[test]
    fn fragments_that_make_no_message_are_dropped() {
        let empty: Vec<u8> = (0..100).flat_map(|at| [&[1, 0, 0, 0, 0, 0, 0, 0, at, 0, 0, 1][..]].concat()).collect();
        for bad in [
            record(HANDSHAKE, 0, &empty),
            clear(0, 10, 8, 4),
            clear(0, 10, 0, 0),
            clear(0, 1 << 20, 0, 100),
            record(HANDSHAKE, 0, &[fragment(0, 10, 0, 4), fragment(0, 10, 4, 6)].concat()),
            record(HANDSHAKE, 1, &[0; 200]),
            record(HANDSHAKE, 2, &[0; 20]),
            record(23, 2, &[0; 20]),
            record(23, 0, &[0; 20])[..20].to_vec(),
            vec![22; 5_000],
            vec![],
        ] {
            assert_eq!(Records::default().judge(&bad, false), Verdict::Drop, "{bad:?}");
        }
    }

    #[test]
    fn nobody_needs_so_many() {
        let mut records = Records::default();
        let verdicts: Vec<_> = (0..300).map(|at| records.judge(&clear(0, 60_000, at * 9, 9), false)).collect();
        assert_eq!(verdicts.iter().position(|verdict| *verdict != Verdict::Take), Some(MOST_DATAGRAMS as usize));
        let mut records = Records::default();
        let sealed: Vec<_> = (0..40).map(|_| records.judge(&record(22, 1, &[0; 48]), true)).collect();
        assert_eq!(sealed.iter().filter(|verdict| **verdict == Verdict::Take).count(), MOST_SEALED as usize);
    }

    #[test]
    fn after_the_handshake_nothing_new_is_said_in_the_clear() {
        let mut records = Records::default();
        assert_eq!(records.judge(&clear(0, 100, 0, 100), false), Verdict::Take);
        assert_eq!(records.judge(&clear(5, 100, 0, 100), true), Verdict::Drop);
        let taken = (0..100).filter(|_| records.judge(&clear(0, 100, 0, 100), true) == Verdict::Take).count();
        assert_eq!(taken, MOST_LATE as usize);
    }

    proptest! {
        #[test]
        fn rubbish_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 20_u8..24, epoch in 0_u16..3) {
            let mut records = Records::default();
            records.judge(&bytes, false);
            records.judge(&record(kind, epoch, &bytes), false);
            records.judge(&record(kind, epoch, &bytes), true);
        }
    }
}
