//! Tests of tokens: who may sign them, and what they open.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use jsonwebtoken::{EncodingKey, Header, encode};
use proptest::prelude::*;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use serde_json::{Value, json};

use super::*;
use crate::fetch::site::Site;

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const SECRET: &str = "a secret of some length, shared";

fn later() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 600
}

fn claims() -> Value {
    json!({ "sub": "show", "grant": "publish", "exp": later() })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn sign(claims: &Value) -> String {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

fn shared() -> TokenSettings {
    TokenSettings { secret: Some(Secret::new(SECRET)), ..TokenSettings::default() }
}

async fn read(settings: &TokenSettings, token: &str) -> Result<Claims, BadToken> {
    Tokens::open(settings).unwrap().read(token).await
}

/// What a publisher of `show` at home is told.
async fn judged(claims: &Value) -> Result<(), BadToken> {
    let read = read(&shared(), &sign(claims)).await?;
    read.allow(Action::Publish, Some(&StreamName::new("show").unwrap()), HOME)
}

#[tokio::test]
async fn a_token_opens_what_it_says() {
    for (name, value, said) in [
        ("sub", json!("show"), Ok(())),
        ("sub", json!("sh*"), Ok(())),
        ("sub", json!("other"), Err(BadToken::Stream)),
        ("stream", json!("*"), Ok(())),
        ("stream", json!(["a", "show"]), Ok(())),
        ("stream", json!("other"), Err(BadToken::Stream)),
        ("stream", json!("not a pattern"), Err(BadToken::Stream)),
        ("grant", json!(["play", "publish", "chat"]), Ok(())),
        ("grant", json!("play"), Err(BadToken::Grant)),
        ("grant", json!([]), Err(BadToken::Grant)),
        ("ip", json!("127.0.0.0/8"), Ok(())),
        ("ip", json!(["::1", "127.0.0.1"]), Ok(())),
        ("ip", json!("203.0.113.7"), Err(BadToken::Address)),
        ("ip", json!("anywhere"), Err(BadToken::Address)),
        ("nbf", json!(1), Ok(())),
        ("nbf", json!(later()), Err(BadToken::Early)),
        ("exp", json!(1_000), Err(BadToken::Expired)),
        ("exp", json!("soon"), Err(BadToken::Malformed)),
        ("exp", Value::Null, Err(BadToken::Malformed)),
        ("grant", json!(7), Err(BadToken::Malformed)),
    ] {
        assert_eq!(judged(&with(name, value.clone())).await, said, "{name}: {value}");
    }
    let endless = json!({ "sub": "show", "grant": "publish" });
    assert_eq!(judged(&endless).await, Err(BadToken::Malformed));
}

#[tokio::test]
async fn issuer_and_audience_are_asked_for_where_they_are_configured() {
    let settings = TokenSettings { issuer: Some("me".to_owned()), audience: Some("headwater".to_owned()), ..shared() };
    let signed = |iss: Value, aud: Value| {
        let mut claims = claims();
        (claims["iss"], claims["aud"]) = (iss, aud);
        sign(&claims)
    };
    assert!(read(&settings, &signed(json!("me"), json!(["a", "headwater"]))).await.is_ok());
    assert_eq!(read(&settings, &signed(json!("you"), json!("headwater"))).await.unwrap_err(), BadToken::Elsewhere);
    assert_eq!(read(&settings, &signed(json!("me"), json!("other"))).await.unwrap_err(), BadToken::Elsewhere);
    assert!(read(&settings, &sign(&claims())).await.is_err(), "both must be there");
    assert!(read(&shared(), &signed(json!("me"), json!("any"))).await.is_ok());
}

#[tokio::test]
async fn keys_in_files_check_their_own_algorithm_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let curve = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let files: Vec<PathBuf> = ["curve.pem", "rsa.pem"].map(|name| folder.path().join(name)).into();
    fs::write(&files[0], curve.public_key_pem()).unwrap();
    fs::write(&files[1], rsa.public_key_pem()).unwrap();
    let settings = TokenSettings { files: files.clone(), ..TokenSettings::default() };
    let by = |algorithm, key: &EncodingKey| encode(&Header::new(algorithm), &claims(), key).unwrap();
    let curve = EncodingKey::from_ec_pem(curve.serialize_pem().as_bytes()).unwrap();
    let rsa = EncodingKey::from_rsa_pem(rsa.serialize_pem().as_bytes()).unwrap();
    assert!(read(&settings, &by(Algorithm::ES256, &curve)).await.is_ok());
    assert!(read(&settings, &by(Algorithm::RS256, &rsa)).await.is_ok());
    assert_eq!(read(&settings, &by(Algorithm::RS512, &rsa)).await.unwrap_err(), BadToken::Algorithm);
    // The public key, which everybody may know, as if it were a shared secret.
    let forged = EncodingKey::from_secret(&fs::read(&files[1]).unwrap());
    assert_eq!(read(&settings, &by(Algorithm::HS256, &forged)).await.unwrap_err(), BadToken::Signature);
    let other = EncodingKey::from_ec_pem(KeyPair::generate().unwrap().serialize_pem().as_bytes()).unwrap();
    assert_eq!(read(&settings, &by(Algorithm::ES256, &other)).await.unwrap_err(), BadToken::Signature);

    fs::write(&files[1], "no key").unwrap();
    let said = Tokens::open(&settings).unwrap_err().to_string();
    assert!(said.contains("rsa.pem") && said.contains("PEM file"), "{said}");
}

#[tokio::test]
async fn keys_of_a_set_are_found_by_their_ids() {
    let pair = KeyPair::generate().unwrap();
    let point = rcgen::PublicKeyData::der_bytes(&pair)[1..].to_vec();
    let (x, y) = (base64url(&point[..32]), base64url(&point[32..]));
    let keys = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "today", "use": "sig", "x": x, "y": y }] });
    let site = Site::start(move |_| (200, keys.to_string())).await;
    let settings = TokenSettings { key_set: Some(site.url("/keys").parse().unwrap()), ..TokenSettings::default() };
    let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
    let signed = |id: Option<&str>| {
        let header = Header { kid: id.map(str::to_owned), ..Header::new(Algorithm::ES256) };
        encode(&header, &claims(), &key).unwrap()
    };
    let tokens = Tokens::open(&settings).unwrap();
    assert!(tokens.read(&signed(Some("today"))).await.is_ok());
    assert!(tokens.read(&signed(None)).await.is_ok());
    assert_eq!(tokens.read(&signed(Some("tomorrow"))).await.unwrap_err(), BadToken::Signature);
    assert_eq!(tokens.read(&sign(&claims())).await.unwrap_err(), BadToken::Signature);
    assert_eq!(site.asked().len(), 1);
}

#[tokio::test]
async fn a_token_without_a_signature_is_none() {
    let signed = sign(&claims());
    let parts: Vec<&str> = signed.split('.').collect();
    let none = base64url(b"{\"alg\":\"none\",\"typ\":\"JWT\"}");
    for token in [
        format!("{none}.{}.", parts[1]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}.{}", parts[0], base64url(with("sub", json!("*")).to_string().as_bytes()), parts[2]),
        format!("{signed}{}", "A".repeat(10_000)),
    ] {
        assert!(read(&shared(), &token).await.is_err(), "{token}");
    }
    assert!(is_token(&signed) && !is_token("eyJ") && !is_token("show") && !is_token("a.b.c"));
}

fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let of = |chunk: &[u8]| {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        (0..=chunk.len()).map(|n| char::from(LETTERS[(bits >> (18 - 6 * n) & 63) as usize])).collect::<String>()
    };
    bytes.chunks(3).map(of).collect()
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "eyJ[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,50}|\\PC{0,40}") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        prop_assert!(runtime.block_on(read(&shared(), &text)).is_err());
    }
}
