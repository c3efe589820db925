//! Whom a proxy speaks for: the client's address behind proxies whose word is taken, by X-Forwarded-For. Used for each request
//! before anything is judged by its address. Pure but for the list, which may change while it runs.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;

use crate::access::Network;
use crate::current::Current;

/// The proxies. Cheap to clone; all clones change together.
#[derive(Clone, Debug)]
pub(super) struct Proxies(Current<Vec<Network>>);

impl Proxies {
    pub(super) fn new(trusted: &[Network]) -> Proxies {
        Proxies(Current::new(trusted.to_vec()))
    }

    /// Others from now on.
    pub(super) fn trust(&self, trusted: &[Network]) {
        self.0.set(trusted.to_vec());
    }

    /// Who sent a request that came from `peer`: the last address in X-Forwarded-For that is no proxy of ours. What stands
    /// further left anybody may have written. Port 0 where a proxy speaks.
    pub(super) fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> SocketAddr {
        let mut said = headers.get_all(FORWARDED).into_iter().rev().peekable();
        if said.peek().is_none() {
            return peer;
        }
        let trusted = self.0.get();
        let is_ours = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
        let hops = said.flat_map(|value| value.to_str().unwrap_or_default().rsplit(',')).take(MOST_HOPS);
        let mut client = peer;
        for hop in hops {
            if !is_ours(client.ip()) {
                break;
            }
            // A proxy that hides its client is all that is known.
            let Some(address) = address(hop.trim()) else { break };
            client = SocketAddr::new(address, 0);
        }
        client
    }
}

/// `203.0.113.7`, `203.0.113.7:4711`, `2001:db8::7` or `[2001:db8::7]:4711`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse().ok().map(|with_port: SocketAddr| with_port.ip()))?;
    Some(IpAddr::to_canonical(&address))
}

const FORWARDED: &str = "x-forwarded-for";
/// Proxies behind each other.
const MOST_HOPS: usize = 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use hyper::header::HeaderValue;

    use super::*;

    fn client(peer: &str, lines: &[&str]) -> String {
        let trusted = ["127.0.0.0/8", "::1", "10.0.0.0/8"].map(|network| network.parse().unwrap());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        Proxies::new(&trusted).client(SocketAddr::new(peer.parse().unwrap(), 9), &headers).ip().to_string()
    }

    #[test]
    fn the_client_is_who_our_own_proxies_saw() {
        for (peer, lines, expected) in [
            ("203.0.113.7", &[][..], "203.0.113.7"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            ("::1", &["203.0.113.7:4711"], "203.0.113.7"),
            ("::ffff:127.0.0.1", &["2001:db8::7"], "2001:db8::7"),
            ("127.0.0.1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            ("127.0.0.1", &["[2001:db8::7]"], "2001:db8::7"),
            // A proxy behind a proxy; in one line or two.
            ("127.0.0.1", &["203.0.113.7, 10.1.2.3"], "203.0.113.7"),
            ("127.0.0.1", &["203.0.113.7", "10.1.2.3"], "203.0.113.7"),
            ("127.0.0.1", &["10.9.9.9,10.1.2.3"], "10.9.9.9"),
        ] {
            assert_eq!(client(peer, lines), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn who_is_no_proxy_of_ours_speaks_for_itself() {
        for (peer, lines, expected) in [
            ("203.0.113.7", &["127.0.0.1"][..], "203.0.113.7"),
            // What the client wrote itself stands to the left of what our proxy saw.
            ("127.0.0.1", &["127.0.0.1, 203.0.113.7"], "203.0.113.7"),
            ("127.0.0.1", &["192.0.2.1", "203.0.113.7"], "203.0.113.7"),
            ("127.0.0.1", &["unknown"], "127.0.0.1"),
            ("127.0.0.1", &["203.0.113.7, _hidden, 10.1.2.3"], "10.1.2.3"),
            ("127.0.0.1", &[""], "127.0.0.1"),
        ] {
            assert_eq!(client(peer, lines), expected, "{peer} {lines:?}");
        }
        let endless = vec!["10.0.0.1"; 1_000].join(",");
        assert_eq!(client("127.0.0.1", &[&format!("203.0.113.7,{endless}")]), "10.0.0.1");
    }

    #[test]
    fn others_are_trusted_from_now_on() {
        let (peer, mut headers) = (SocketAddr::from(([192, 0, 2, 9], 9)), HeaderMap::new());
        headers.insert(FORWARDED, HeaderValue::from_static("203.0.113.7"));
        let proxies = Proxies::new(&[]);
        assert_eq!(proxies.client(peer, &headers), peer);
        proxies.clone().trust(&["192.0.2.0/24".parse().unwrap()]);
        assert_eq!(proxies.client(peer, &headers).ip().to_string(), "203.0.113.7");
    }
}
