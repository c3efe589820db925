//! What is granted and refused, as broadcasters and viewers meet it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{IpAddr, Ipv4Addr};

use super::*;

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const AWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));

fn name(text: &str) -> StreamName {
    StreamName::new(text).unwrap()
}

fn from(address: IpAddr) -> From {
    From::new(address, "rtmp")
}

fn keyed() -> Access {
    Access::new(vec![Key::publish(Some(name("show")), "s3cret"), Key::publish(None, "master")])
}

#[tokio::test]
async fn without_keys_only_this_machine_publishes() {
    let open = Access::default();
    assert_eq!(open.publish("show", &from(HOME)).await.unwrap().stream, name("show"));
    assert!(open.publish("show?key=any", &from("::ffff:127.0.0.1".parse().unwrap())).await.is_ok());
    assert_eq!(open.publish("show", &from(AWAY)).await, Err(Refused::NotLocal));
    assert_eq!(open.publish_with(&name("show"), None, &from(AWAY)).await, Err(Refused::NotLocal));
    let new = NewKey { stream: Some("show".parse().unwrap()), ..NewKey::default() };
    let made = open.make_key(new).await.unwrap();
    assert_eq!(open.publish("show", &from(HOME)).await, Err(Refused::Key), "a made key counts as one");
    assert!(open.publish(made.secret.reveal(), &from(AWAY)).await.is_ok());
    open.revoke_key(&made.key.id).await.unwrap();
    assert!(open.is_open());
}

#[tokio::test]
async fn a_key_opens_its_name_and_no_other() {
    let access = keyed();
    assert_eq!(access.publish("show?key=s3cret", &from(AWAY)).await.unwrap().stream, name("show"));
    assert_eq!(access.publish("s3cret", &from(AWAY)).await.unwrap().stream, name("show"));
    assert_eq!(access.publish("other?a=b&key=master", &from(AWAY)).await.unwrap().stream, name("other"));
    for wrong in ["show", "other?key=s3cret", "show?key=", "show?key=s3cre", "show?x=1", "master"] {
        assert_eq!(access.publish(wrong, &from(HOME)).await, Err(Refused::Key), "{wrong}");
    }
    assert_eq!(access.publish("a/b?key=master", &from(HOME)).await, Err(Refused::Name(BadName::Character('/'))));
    assert_eq!(access.publish_with(&name("show"), Some("s3cret"), &from(AWAY)).await.unwrap().stream, name("show"));
    assert_eq!(access.publish_with(&name("show"), None, &from(AWAY)).await, Err(Refused::Key));
}

#[tokio::test]
async fn a_bare_secret_of_a_pattern_names_no_stream() {
    let access = Access::default();
    let new = NewKey { stream: Some("show-*".parse().unwrap()), ..NewKey::default() };
    let made = access.make_key(new).await.unwrap();
    let secret = made.secret.reveal();
    assert_eq!(access.publish(secret, &from(AWAY)).await, Err(Refused::Key));
    assert_eq!(access.publish(&format!("show-7?key={secret}"), &from(AWAY)).await.unwrap().key, Some(made.key.id));
    assert_eq!(access.publish(&format!("other?key={secret}"), &from(AWAY)).await, Err(Refused::Key));
}

#[tokio::test]
async fn streams_with_a_key_to_watch_are_private() {
    let settings = Settings { private: vec!["members-*".parse().unwrap()], ..Settings::default() };
    let access = Access::open(settings, Events::new()).unwrap();
    assert!(access.play(&name("show"), None, &from(AWAY)).await.is_ok());
    assert_eq!(access.play(&name("members-1"), None, &from(HOME)).await, Err(Refused::Private));
    let new = NewKey { stream: Some("show".parse().unwrap()), grant: KeyGrant::Play, ..NewKey::default() };
    let made = access.make_key(new).await.unwrap();
    assert_eq!(access.play(&name("show"), Some("guess"), &from(AWAY)).await, Err(Refused::Private));
    let granted = access.play(&name("show"), Some(made.secret.reveal()), &from(AWAY)).await.unwrap();
    assert_eq!(granted.key, Some(made.key.id));
    assert!(access.is_open(), "a key to watch is none to publish");
}

#[tokio::test]
async fn what_happens_to_keys_is_told_and_no_secret_is() {
    let events = Events::new();
    let access = Access::open(Settings::default(), events.clone()).unwrap();
    let mut revoked = access.revocations();
    let made = access.make_key(NewKey { label: "studio".to_owned(), ..NewKey::default() }).await.unwrap();
    let fresh = access.rotate_key(&made.key.id).await.unwrap();
    assert_eq!(revoked.try_recv().unwrap(), made.key.id);
    assert!(!access.stands(&made.key.id) && access.stands(&fresh.key.id));
    let old = format!("show?key={}", made.secret.reveal());
    assert_eq!(access.publish(&old, &from(AWAY)).await, Err(Refused::Key));
    assert!(access.publish(made.secret.reveal(), &from(AWAY)).await.is_err());
    access.revoke_key(&fresh.key.id).await.unwrap();
    let told = events.last(None, 10);
    let kinds: Vec<&str> = told.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, ["key.made", "key.rotated", "publish.refused", "publish.refused", "key.revoked"]);
    assert_eq!(told[2].stream.as_deref(), Some("show"));
    let text = format!("{told:?} {access:?} {made:?}");
    assert!(!text.contains(made.secret.reveal()) && !text.contains(fresh.secret.reveal()), "{text}");
}
