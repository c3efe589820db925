//! Tests of the webhook, against a small web server that says yes, no, nothing, or too late.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::*;
use crate::fetch::site::Site;

const AWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));

fn settings(url: &str) -> WebhookSettings {
    WebhookSettings {
        target: url.parse().unwrap(),
        secret: Some(Secret::new("between us")),
        actions: vec![Action::Publish],
        timeout: Duration::from_secs(20),
        cache: Duration::from_secs(3_600),
    }
}

async fn ask(hook: &Webhook, stream: &str, shown: Option<&str>) -> Result<SystemTime, Refused> {
    let from = From { user_agent: Some("OBS".to_owned()), ..From::new(AWAY, "rtmp") };
    hook.ask(Action::Publish, &StreamName::new(stream).unwrap(), shown, &from).await
}

#[tokio::test]
async fn a_question_says_who_wants_what_and_is_signed() {
    let site = Site::start(|_| (204, String::new())).await;
    let hook = Webhook::new(settings(&site.url("/hook"))).unwrap();
    assert!(ask(&hook, "show", Some("tok\"en")).await.unwrap() > SystemTime::now());
    let asked = &site.asked()[0];
    let body: Value = serde_json::from_str(&asked.body).unwrap();
    let expected = serde_json::json!({ "action": "publish", "stream": "show", "address": "203.0.113.7",
        "protocol": "rtmp", "user_agent": "OBS", "token": "tok\"en" });
    assert_eq!(body, expected);
    assert_eq!(asked.header("content-type"), Some("application/json"));
    let seconds = asked.header("headwater-timestamp").unwrap().parse().unwrap();
    let signature = sign(&Secret::new("between us"), seconds, &asked.body);
    assert_eq!(asked.header("headwater-signature"), Some(signature.as_str()));
}

#[test]
fn signatures_are_what_others_compute() {
    // openssl dgst -sha256 -hmac Jefe, of "1.{}".
    let known = "sha256=dc7943cccf20f64327d263db5e2aca27c2b8175e8e6e7ea04f482091bf456b0f";
    let signature = sign(&Secret::new("Jefe"), 1, "{}");
    assert_eq!(signature, known);
    assert_ne!(signature, sign(&Secret::new("Jefe"), 2, "{}"));
    assert_ne!(signature, sign(&Secret::new("Jef"), 1, "{}"));
}

#[tokio::test]
async fn a_refusal_is_shown_on_one_line_and_not_too_long() {
    let site = Site::start(|asked| match asked.count {
        0 => (403, "pay your\r\nbill\n".to_owned()),
        1 => (401, "é".repeat(10_000)),
        _ => (404, " \n".to_owned()),
    })
    .await;
    let hook = Webhook::new(settings(&site.url("/"))).unwrap();
    assert_eq!(ask(&hook, "a", None).await, Err(Refused::Webhook("pay your  bill".to_owned())));
    assert_eq!(ask(&hook, "b", None).await, Err(Refused::Webhook("é".repeat(200))));
    assert_eq!(ask(&hook, "c", None).await, Err(Refused::Webhook("this is not allowed".to_owned())));
}

#[tokio::test]
async fn an_answer_is_kept_for_the_same_question_alone() {
    let site =
        Site::start(|asked| if asked.body.contains("guess") { (403, "no".to_owned()) } else { (200, String::new()) });
    let site = site.await;
    let hook = Webhook::new(settings(&site.url("/"))).unwrap();
    for _ in 0..3 {
        assert!(ask(&hook, "show", Some("right")).await.is_ok());
        assert!(ask(&hook, "show", Some("guess")).await.is_err());
    }
    assert_eq!(site.asked().len(), 2);
    assert!(ask(&hook, "other", Some("right")).await.is_ok());
    assert!(ask(&hook, "show", None).await.is_ok());
    assert_eq!(site.asked().len(), 4);
    let forgetful = Webhook::new(WebhookSettings { cache: Duration::ZERO, ..settings(&site.url("/")) }).unwrap();
    for _ in 0..2 {
        assert!(ask(&forgetful, "show", None).await.is_ok());
    }
    assert_eq!(site.asked().len(), 6);
}

#[tokio::test]
async fn kept_answers_are_bounded() {
    let hook = Webhook::new(settings("http://127.0.0.1:1/")).unwrap();
    let stream = StreamName::new("show").unwrap();
    let answer = Answer { refusal: None, until: Instant::now() + Duration::from_secs(60) };
    for n in 0..20_000_u32 {
        let topic = Topic {
            action: Action::Play,
            stream: stream.clone(),
            token: Some(n.to_string()),
            address: IpAddr::V4(std::net::Ipv4Addr::from(n)),
        };
        hook.keep(topic.clone(), &answer);
        hook.keep(topic, &answer);
    }
    let answers = hook.answers.lock().unwrap();
    assert_eq!((answers.kept.len(), answers.order.len()), (MOST_KEPT, MOST_KEPT));
}

#[tokio::test]
async fn no_answer_is_a_refusal_and_who_gives_none_is_left_alone() {
    let silent = Site::silent().await;
    let late = WebhookSettings { timeout: Duration::from_millis(20), ..settings(&silent.url("/")) };
    let late = Webhook::new(late).unwrap();
    assert_eq!(ask(&late, "show", None).await, Err(Refused::Unavailable));
    let dead = Webhook::new(settings(&Site::dead().await)).unwrap();
    assert_eq!(ask(&dead, "show", None).await, Err(Refused::Unavailable));

    let broken = Site::start(|asked| ([500, 302, 429, 503, 500][asked.count % 5], "broken".to_owned())).await;
    let hook = Webhook::new(settings(&broken.url("/"))).unwrap();
    for _ in 0..20 {
        assert_eq!(ask(&hook, "show", None).await, Err(Refused::Unavailable));
    }
    assert_eq!(broken.asked().len(), FAILURES as usize);
}

#[tokio::test]
async fn who_answers_again_is_asked_again() {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let site = Site::start(|_| match COUNT.fetch_add(1, Ordering::Relaxed) {
        0..5 => (500, String::new()),
        _ => (200, String::new()),
    })
    .await;
    let hook = Webhook::new(settings(&site.url("/"))).unwrap();
    for _ in 0..6 {
        assert!(ask(&hook, "show", None).await.is_err());
    }
    hook.circuit().closed_until = Some(Instant::now());
    assert!(ask(&hook, "show", None).await.is_ok());
    assert_eq!(hook.circuit().failures, 0);
}
