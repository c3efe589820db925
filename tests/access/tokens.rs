//! Tokens that somebody else signs, shown by publishers and viewers.

use std::time::{SystemTime, UNIX_EPOCH};

use headwater::access::{BadToken, From, Refused, Secret};
use headwater::config::Config;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;

use super::rig::Rig;

const SECRET: &str = "shared with the site that signs";

fn token(stream: &str, grant: &str, seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let claims = json!({ "sub": "somebody", "stream": stream, "grant": grant, "exp": now + seconds });
    encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

fn signed_elsewhere(config: &mut Config) {
    config.access.jwt_secret = Some(Secret::new(SECRET));
    config.access.private = vec!["members-*".parse().unwrap()];
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_lets_its_publisher_in_and_an_expired_one_does_not() {
    let rig = Rig::start(signed_elsewhere).await;
    for (key, said) in [
        (format!("show?token={}", token("show", "publish", -600)), "the token has expired"),
        (format!("show?token={}", token("other", "publish", 600)), "the token is for another stream"),
        (format!("show?token={}", token("show", "play", 600)), "the token does not allow this"),
        ("show".to_owned(), "wrong stream key"),
    ] {
        let output = rig.refused(&key).await;
        assert!(output.contains(said), "{said}: {output}");
    }
    let mut ffmpeg = rig.publish(&format!("show?token={}", token("sh*", "publish", 600)));
    rig.live("show").await;
    assert!(ffmpeg.process.runs());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whip_and_whep_take_tokens_too() {
    let rig = Rig::start(signed_elsewhere).await;
    let (reply, _) = rig.offer("/whip/members-1", Some(&token("members-1", "publish", -600))).await;
    assert_eq!((reply.status, reply.body.contains("the token has expired")), (401, true), "{}", reply.body);
    let (reply, _) = rig.offer("/whip/members-1", Some(&token("members-2", "publish", 600))).await;
    assert_eq!((reply.status, reply.body.contains("for another stream")), (403, true), "{}", reply.body);
    let (reply, _) = rig.offer("/whip/members-1", Some(&token("members-*", "publish", 600))).await;
    assert_eq!(reply.status, 201, "{}", reply.body);

    let _ffmpeg = rig.publish(&format!("members-1?token={}", token("*", "publish", 600)));
    let watch = token("members-1", "play", 600);
    rig.live_for("members-1", &watch).await;
    for (shown, status) in [(None, 401), (Some(token("members-1", "play", -600)), 403), (Some(watch), 200)] {
        let reply = rig.ask("GET", "/live/members-1/index.m3u8", shown.as_deref(), "").await;
        assert_eq!(reply.status, status, "{}", reply.body);
        // What a token opens is for nobody else.
        assert!(!reply.header("cache-control").unwrap().contains("public"), "{}", reply.head);
    }
    let (reply, _) = rig.offer("/whep/members-1", None).await;
    assert_eq!(reply.status, 401, "{}", reply.body);
    let (reply, _) = rig.offer(&format!("/whep/members-1?token={}", token("members-1", "play", 600)), None).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_is_known_by_a_token() {
    let rig = Rig::start(signed_elsewhere).await;
    let from = From::new("127.0.0.1".parse().unwrap(), "admin");
    let access = rig.server.access();
    assert_eq!(access.administer(&token("*", "admin", 600), &from).await.unwrap().who, "somebody");
    let refused = access.administer(&token("*", "publish", 600), &from).await;
    assert_eq!(refused, Err(Refused::Token(BadToken::Grant)));
    let made = access.made_admin_token().unwrap().reveal();
    assert!(access.administer(made, &from).await.is_ok());
}
