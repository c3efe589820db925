//! A fragment of a session description (RFC 8840): candidates that trickle in, and new credentials for an ICE restart.

use super::Candidate;
use super::offer::is_fragment;
use crate::webrtc::ice::Credentials;

/// What a client patches its session with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fragment {
    /// The peer's user fragment, if the fragment names one: the one it has, or for a restart another.
    pub(crate) fragment: Option<String>,
    /// Candidates in it. An ICE-lite agent learns addresses from requests, so they are counted, not kept.
    pub(crate) candidates: usize,
}

impl Fragment {
    /// Reads a fragment; None where a line is no attribute and no media line, or a value makes no sense.
    pub(crate) fn read(text: &str) -> Option<Fragment> {
        let mut read = Fragment::default();
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            let (letter, rest) = line.split_once('=')?;
            match (letter, rest.split_once(':')) {
                ("a", Some(("ice-ufrag", value))) => {
                    read.fragment = Some(is_fragment(value).then(|| value.to_owned())?)
                }
                ("a", Some(("candidate", _))) => read.candidates += 1,
                ("a" | "m" | "c", _) => {}
                _ => return None,
            }
        }
        Some(read)
    }

    /// The answer to a restart: our new credentials, and where we are.
    pub(crate) fn restarted(credentials: &Credentials, candidates: &[Candidate]) -> String {
        let Credentials { fragment, password } = credentials;
        let mut text = format!("a=ice-lite\r\na=ice-ufrag:{fragment}\r\na=ice-pwd:{password}\r\n");
        text.push_str("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n");
        for candidate in candidates {
            text.push_str(&format!("a=candidate:{candidate}\r\n"));
        }
        text.push_str("a=end-of-candidates\r\n");
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn fragments_of_either_kind_are_told_apart() {
        let trickle = "a=ice-ufrag:abcd\r\na=ice-pwd:x\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
            a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\na=end-of-candidates\r\n";
        let read = Fragment::read(trickle).unwrap();
        assert_eq!(read, Fragment { fragment: Some("abcd".into()), candidates: 1 });
        assert_eq!(Fragment::read("a=end-of-candidates\r\n").unwrap(), Fragment::default());
        for bad in ["rubbish", "x=1", "a=ice-ufrag:", "a=ice-ufrag:a:b", "a=ice-ufrag:a\rb", "{\"candidate\": 1}"] {
            assert_eq!(Fragment::read(bad), None, "{bad}");
        }
    }
}
