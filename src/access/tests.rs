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

fn of(policy: Policy) -> Access {
    Access::open(Settings { policy, ..Settings::default() }, Events::new()).unwrap()
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
    let policy = Policy { private: vec!["members-*".parse().unwrap()], ..Policy::default() };
    let access = of(policy);
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
    // The second refusal of an address is counted, and told of a minute later.
    assert_eq!(kinds, ["key.made", "key.rotated", "publish.refused", "key.revoked"]);
    assert_eq!(told[2].stream.as_deref(), Some("show"));
    let text = format!("{told:?} {access:?} {made:?}");
    assert!(!text.contains(made.secret.reveal()) && !text.contains(fresh.secret.reveal()), "{text}");
}

#[tokio::test]
async fn ten_thousand_wrong_keys_cost_their_address_and_nobody_else() {
    let events = Events::new();
    let keys = vec![Key::publish(None, "master")];
    let access = Access::open(Settings { keys, ..Settings::default() }, events.clone()).unwrap();
    let before = events.newest();
    let mut answers = std::collections::BTreeMap::new();
    for n in 0..10_000 {
        let refused = access.publish(&format!("show?key=guess{n}"), &from(AWAY)).await.unwrap_err();
        *answers.entry(refused.reason()).or_insert(0) += 1;
    }
    assert!(answers["key"] <= 15 && answers["too_many"] >= 9_985, "{answers:?}");
    let told = events.after(before, 100).events;
    assert!(told.len() <= 3, "{told:?}");
    assert!(!format!("{told:?}").contains("guess"));
    let right = access.publish("show?key=master", &from(AWAY)).await;
    let Err(refused @ Refused::TooMany(1..)) = right else { panic!("{right:?}") };
    assert!(refused.to_string().starts_with("too many wrong keys from this address; try again in "), "{refused}");
    let elsewhere: IpAddr = "203.0.113.8".parse().unwrap();
    assert!(access.publish("show?key=master", &from(elsewhere)).await.is_ok());
    assert!(access.play(&name("show"), None, &from(AWAY)).await.is_ok());
}

#[tokio::test]
async fn nothing_shown_is_no_wrong_key() {
    let access = of(Policy { private: vec!["*".parse().unwrap()], ..Policy::default() });
    for _ in 0..100 {
        assert_eq!(access.play(&name("show"), None, &from(AWAY)).await, Err(Refused::Private));
    }
}

#[tokio::test]
async fn addresses_are_allowed_and_denied_for_each_purpose() {
    let network = |text: &str| vec![text.parse::<Network>().unwrap()];
    let access = of(Policy {
        publishers: Gate { allow: network("127.0.0.0/8"), deny: Vec::new() },
        viewers: Gate { allow: Vec::new(), deny: network("203.0.113.0/24") },
        operators: Gate { allow: network("::1"), deny: Vec::new() },
        admin_token: Some(Secret::new("operators-only")),
        ..Policy::default()
    });
    assert!(access.publish("show", &from(HOME)).await.is_ok());
    assert_eq!(access.publish("show", &from(AWAY)).await, Err(Refused::Address));
    assert_eq!(access.play(&name("show"), None, &from(AWAY)).await, Err(Refused::Address));
    assert!(access.play(&name("show"), None, &from(HOME)).await.is_ok());
    assert_eq!(access.administer("operators-only", &from(HOME)).await, Err(Refused::Address));
    assert!(access.administer("operators-only", &from("::1".parse().unwrap())).await.is_ok());
}

#[tokio::test]
async fn sessions_of_one_address_are_counted_while_they_last() {
    let access = of(Policy { sessions: Some(2), ..Policy::default() });
    let first = access.publish("a", &from(HOME)).await.unwrap();
    let whep = From::new(HOME, "whep");
    let second = access.play(&name("a"), None, &whep).await.unwrap();
    assert_eq!(access.publish("b", &from(HOME)).await, Err(Refused::Sessions(2)));
    assert!(access.play(&name("a"), None, &From::new(HOME, "hls")).await.is_ok());
    drop(second);
    assert!(access.publish("b", &from(HOME)).await.is_ok());
    drop(first);
}

#[tokio::test]
async fn the_admin_token_is_made_once_and_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let settings = Settings { data: Some(folder.path().to_owned()), ..Settings::default() };
        Access::open(settings, Events::new()).unwrap()
    };
    let first = open();
    let token = first.made_admin_token().unwrap().reveal().to_owned();
    let again = open();
    assert!(again.made_admin_token().is_none());
    assert!(again.administer(&token, &from(AWAY)).await.is_ok());
    assert_eq!(again.administer("guess", &from(AWAY)).await, Err(Refused::Admin));
    assert_eq!(again.administer("", &from(AWAY)).await, Err(Refused::Admin));
    assert_eq!(Access::default().administer("", &from(HOME)).await, Err(Refused::Admin));
}

#[tokio::test]
async fn the_webhook_is_asked_where_no_key_answers() {
    let site = crate::fetch::site::Site::start(|asked| match asked.body.contains("\"stream\":\"friend\"") {
        true => (200, String::new()),
        false => (403, "not today".to_owned()),
    })
    .await;
    let webhook = WebhookSettings {
        target: site.url("/").parse().unwrap(),
        secret: None,
        actions: vec![Action::Publish, Action::Play],
        timeout: Duration::from_secs(20),
        cache: Duration::from_secs(60),
    };
    let keys = vec![Key::publish(Some(name("show")), "s3cret")];
    let access = Access::open(Settings { keys, webhook: Some(webhook), ..Settings::default() }, Events::new()).unwrap();
    assert!(access.publish("show?key=s3cret", &from(AWAY)).await.is_ok());
    assert!(access.publish("s3cret", &from(AWAY)).await.is_ok());
    assert!(site.asked().is_empty(), "a key is enough");
    let no = Err(Refused::Webhook("not today".to_owned()));
    assert_eq!(access.publish("show?key=guess", &from(AWAY)).await, no);
    assert_eq!(access.publish("stranger", &from(HOME)).await, no);
    assert_eq!(access.play(&name("show"), None, &from(AWAY)).await, no);
    let granted = access.publish("friend", &from(AWAY)).await.unwrap();
    assert!(granted.expires.is_some() && granted.key.is_none());
    assert!(access.publish("friend?token=any", &from(AWAY)).await.is_ok());
    assert!(access.play(&name("friend"), None, &from(AWAY)).await.is_ok());
    assert_eq!(access.publish("a b", &from(AWAY)).await, Err(Refused::Name(BadName::Character(' '))));
    assert_eq!(site.asked().len(), 6);
}

#[tokio::test]
async fn policy_and_keys_change_while_the_server_runs() {
    let access = keyed();
    let granted = access.publish("show?key=s3cret", &from(AWAY)).await.unwrap();
    let deny = vec!["198.51.100.0/24".parse().unwrap()];
    let policy = Policy { publishers: Gate { allow: Vec::new(), deny }, ..Policy::default() };
    access.configure(&[Key::publish(None, "master")], policy);
    assert!(!access.stands(&granted.key.unwrap()));
    assert_eq!(access.publish("show?key=s3cret", &from(AWAY)).await, Err(Refused::Key));
    assert!(access.publish("show?key=master", &from(AWAY)).await.is_ok());
    let denied = from("198.51.100.9".parse().unwrap());
    assert_eq!(access.publish("show?key=master", &denied).await, Err(Refused::Address));
}
