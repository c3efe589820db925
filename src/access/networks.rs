//! Lists of addresses that may come and that may not.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

/// One address, or all that begin alike: `203.0.113.7`, `198.51.100.0/24`, `2001:db8::/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    /// Whether an address is one of it. An IPv4 address is one, in IPv6's clothes too.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Network, BadNetwork> {
        let one = || text.parse().ok().map(|address: IpAddr| IpNet::from(address.to_canonical()));
        text.parse().ok().or_else(one).map(Network).ok_or_else(|| BadNetwork(text.to_owned()))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.prefix_len() == self.0.max_prefix_len() {
            true => self.0.addr().fmt(f),
            false => self.0.fmt(f),
        }
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Network, D::Error> {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

/// Why a text is no network, with the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address and no network; write \"203.0.113.7\", \"198.51.100.0/24\" or \"2001:db8::/32\"")]
pub struct BadNetwork(String);

/// Who may come.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    /// These alone; none is everybody.
    pub allow: Vec<Network>,
    /// But not these.
    pub deny: Vec<Network>,
}

impl Gate {
    /// Whether an address may pass.
    pub fn lets(&self, address: IpAddr) -> bool {
        let is_in = |list: &[Network]| list.iter().any(|network| network.contains(address));
        !is_in(&self.deny) && (self.allow.is_empty() || is_in(&self.allow))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;

    fn list(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_gate_lets_those_in_who_are_allowed_and_not_denied() {
        let gate = Gate { allow: list(&["198.51.100.0/24", "2001:db8::/32", "::1"]), deny: list(&["198.51.100.7"]) };
        for (address, passes) in [
            ("198.51.100.8", true),
            ("::ffff:198.51.100.8", true),
            ("198.51.100.7", false),
            ("198.51.101.8", false),
            ("2001:db8:1::5", true),
            ("2001:db9::5", false),
            ("::1", true),
        ] {
            assert_eq!(gate.lets(address.parse().unwrap()), passes, "{address}");
        }
        assert!(Gate::default().lets("203.0.113.7".parse().unwrap()));
        let everybody_but = Gate { allow: Vec::new(), deny: list(&["0.0.0.0/0"]) };
        assert!(!everybody_but.lets("203.0.113.7".parse().unwrap()) && everybody_but.lets("::1".parse().unwrap()));
    }

    #[test]
    fn networks_are_read_and_written() {
        for text in ["203.0.113.7", "198.51.100.0/24", "2001:db8::/32", "::1", "0.0.0.0/0"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
        for text in ["", "host", "198.51.100.0/33", "1.2.3", "::/129", "1.2.3.4/"] {
            assert_eq!(text.parse::<Network>(), Err(BadNetwork(text.to_owned())), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_network_or_refused(text in "[0-9a-f.:/]{0,24}|\\PC{0,12}") {
            if let Ok(network) = text.parse::<Network>() {
                prop_assert_eq!(network.to_string().parse(), Ok(network));
            }
        }

        #[test]
        fn a_network_has_the_addresses_that_begin_alike(bits: u32, length in 0u8..=32, other: u32) {
            let network: Network = format!("{}/{length}", std::net::Ipv4Addr::from(bits)).parse().unwrap();
            let alike = (bits ^ other).leading_zeros() >= u32::from(length);
            prop_assert_eq!(network.contains(std::net::Ipv4Addr::from(other).into()), alike);
        }
    }
}
