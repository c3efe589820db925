//! Links: what is signed is read, and nothing else is.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

fn links() -> PlayLinks {
    PlayLinks::new(&PlaySecret::new([5; 32]))
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn claims() -> impl Strategy<Value = PlayClaims> {
    let address = prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)];
    let whole =
        ("[A-Za-z0-9_*-]{1,40}", 0..1_u64 << 40, proptest::option::of(address), any::<u32>(), any::<Option<u32>>());
    whole.prop_map(|(streams, expires, address, sessions, key)| PlayClaims {
        streams: streams.parse().unwrap(),
        expires: at(expires),
        address,
        sessions,
        key: key.map(|key| KeyId::new(&key.to_string())),
    })
}

proptest! {
    #[test]
    fn what_is_signed_is_read(claims in claims()) {
        let token = links().sign(&claims);
        prop_assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')));
        prop_assert_eq!(links().read(&token).map(|link| link.claims), Some(claims));
        prop_assert_eq!(PlayLinks::new(&PlaySecret::new([6; 32])).read(&token), None);
    }

    #[test]
    fn no_other_text_is_a_link(claims in claims(), place in any::<prop::sample::Index>(), letter in "[A-Za-z0-9_.-]") {
        let token = links().sign(&claims);
        let at = place.index(token.len());
        let mut other = token.clone();
        other.replace_range(at..=at, &letter);
        prop_assert!(other == token || links().read(&other).is_none());
        prop_assert_eq!(links().read(&token[..at]), None);
    }

    #[test]
    fn rubbish_is_no_link(text in "[ -~]{0,200}") {
        prop_assert_eq!(links().read(&text), None);
    }
}

#[test]
fn a_link_opens_its_streams_until_it_expires() {
    let claims = PlayClaims::new("show-*".parse().unwrap(), at(100));
    let link = links().read(&links().sign(&claims)).unwrap();
    assert_eq!(link.opens("show-1", HOME, at(99)), Ok(()));
    assert_eq!(link.opens("show-1", HOME, at(100)), Err(BadLink::Expired));
    assert_eq!(link.opens("other", HOME, at(99)), Err(BadLink::OtherStream));
}

#[test]
fn a_link_for_an_address_is_for_no_other() {
    let claims = PlayClaims { address: Some(HOME), ..PlayClaims::new("show".parse().unwrap(), at(100)) };
    let link = links().read(&links().sign(&claims)).unwrap();
    assert_eq!(link.opens("show", "::ffff:192.0.2.7".parse().unwrap(), at(0)), Ok(()));
    assert_eq!(link.opens("show", "192.0.2.8".parse().unwrap(), at(0)), Err(BadLink::OtherAddress));
}

#[test]
fn a_claim_that_is_not_known_opens_nothing() {
    let links = links();
    let token = |claims: &str| {
        let text = base64url::encode(claims.as_bytes());
        format!("{text}.{}", base64url::encode(&links.proof(&text)))
    };
    assert!(links.read(&token(r#"{"s":"show","e":100}"#)).is_some());
    for claims in [r#"{"s":"show","e":100,"country":"nl"}"#, r#"{"s":"show"}"#, r#"{"s":"sh ow","e":1}"#, ""] {
        assert_eq!(links.read(&token(claims)), None, "{claims}");
    }
}
