//! A set of public keys (RFC 7517) at an address: fetched when a token first needs it, kept, fetched anew now and then, and when
//! a key is not in it, but never more often than the pace allows. While it cannot be had, the old one is used.

use std::str;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Request, StatusCode};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::sync::Semaphore;

use super::jwt::{BadToken, Verifier};
use crate::fetch::{Fetch, NoAuthorities, Target};

/// The set.
#[derive(Debug)]
pub(super) struct KeySet {
    target: Target,
    fetch: Fetch,
    pace: Pace,
    kept: RwLock<Arc<Kept>>,
    /// One request at a time; who waits for it looks again.
    turn: Semaphore,
}

/// How often the set is asked for.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Not before, whatever comes.
    least: Duration,
    /// Anew, though nothing is missing.
    most: Duration,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    verifiers: Vec<Arc<Verifier>>,
    fetched: Option<Instant>,
    tried: Option<Instant>,
}

impl KeySet {
    /// At an address.
    pub(super) fn new(target: Target) -> Result<KeySet, NoAuthorities> {
        let fetch = Fetch::new(&target, PATIENCE, LARGEST)?;
        Ok(KeySet { target, fetch, pace: PACE, kept: RwLock::default(), turn: Semaphore::new(1) })
    }

    /// The keys that may have signed a token.
    pub(super) async fn find(
        self: &Arc<KeySet>,
        id: Option<&str>,
        by: Algorithm,
    ) -> Result<Vec<Arc<Verifier>>, BadToken> {
        let kept = self.kept();
        let found = kept.find(id, by);
        let may_ask = kept.tried.is_none_or(|tried| tried.elapsed() >= self.pace.least);
        if !found.is_empty() {
            if may_ask && kept.fetched.is_none_or(|fetched| fetched.elapsed() >= self.pace.most) {
                // Nobody waits for this.
                let set = self.clone();
                tokio::spawn(async move { set.refresh(kept.tried).await });
            }
            return Ok(found);
        }
        if may_ask {
            self.refresh(kept.tried).await;
        }
        let kept = self.kept();
        if kept.fetched.is_none() { Err(BadToken::Unavailable) } else { Ok(kept.find(id, by)) }
    }

    /// Asks for the set, unless somebody has since `seen`.
    async fn refresh(&self, seen: Option<Instant>) {
        let Ok(_turn) = self.turn.acquire().await else { return };
        if self.kept().tried != seen {
            return;
        }
        let asked = self.ask().await;
        let mut kept = Kept::clone(&self.kept());
        kept.tried = Some(Instant::now());
        match asked {
            Ok(verifiers) => (kept.verifiers, kept.fetched) = (verifiers, kept.tried),
            Err(error) => {
                let keys = kept.verifiers.len();
                tracing::warn!(target = ?self.target, error, keys, "the set of token keys cannot be had; those from before are used");
            }
        }
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(kept);
    }

    async fn ask(&self) -> Result<Vec<Arc<Verifier>>, String> {
        let mut request = Request::new(Full::<Bytes>::default());
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let answer = self.fetch.send(&self.target, request).await.map_err(|error| error.to_string())?;
        let (status, body) = (answer.status(), answer.into_body());
        if status != StatusCode::OK {
            return Err(format!("the answer is {status}"));
        }
        verifiers(&body)
    }

    fn kept(&self) -> Arc<Kept> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Kept {
    fn find(&self, id: Option<&str>, by: Algorithm) -> Vec<Arc<Verifier>> {
        let named = |verifier: &Verifier| id.is_none() || verifier.id.as_deref() == id;
        let fits = |verifier: &&Arc<Verifier>| verifier.algorithm == by && named(verifier);
        self.verifiers.iter().filter(fits).cloned().collect()
    }
}

/// The keys of a set that can be used here. One that cannot hinders no other.
fn verifiers(text: &[u8]) -> Result<Vec<Arc<Verifier>>, String> {
    let set: serde_json::Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let keys = set.get("keys").and_then(|keys| keys.as_array()).ok_or("there is no list of keys in it")?;
    let known: Vec<Jwk> = keys.iter().filter_map(|key| serde_json::from_value(key.clone()).ok()).take(MOST).collect();
    Ok(JwkSet { keys: known }.keys.iter().filter_map(verifier).map(Arc::new).collect())
}

fn verifier(jwk: &Jwk) -> Option<Verifier> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => Algorithm::ES256,
        // A shared secret in a public set would be none.
        _ => return None,
    };
    let said = match jwk.common.key_algorithm {
        None => true,
        Some(KeyAlgorithm::RS256) => algorithm == Algorithm::RS256,
        Some(KeyAlgorithm::ES256) => algorithm == Algorithm::ES256,
        Some(_) => false,
    };
    let signs = jwk.common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    let key = DecodingKey::from_jwk(jwk).ok().filter(|_| said && signs)?;
    Some(Verifier { algorithm, id: jwk.common.key_id.clone(), key })
}

const PACE: Pace = Pace { least: Duration::from_secs(10), most: Duration::from_secs(600) };
/// For a whole answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a set.
const LARGEST: usize = 256 * 1024;
/// Keys of a set.
const MOST: usize = 100;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;

    use super::*;
    use crate::fetch::site::Site;

    /// The public key of RFC 7515, appendix A.3.
    fn curve(id: &str) -> serde_json::Value {
        json!({ "kty": "EC", "crv": "P-256", "kid": id, "alg": "ES256",
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" })
    }

    fn set(site: &Site, least: Duration, most: Duration) -> Arc<KeySet> {
        let made = KeySet::new(site.url("/keys").parse().unwrap()).unwrap();
        Arc::new(KeySet { pace: Pace { least, most }, ..made })
    }

    #[test]
    fn keys_that_cannot_be_used_hinder_no_others() {
        let oct = json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "secret" });
        let p384 = json!({ "kty": "EC", "crv": "P-384", "x": "AA", "y": "AA", "kid": "large" });
        let strange = json!({ "kty": "post-quantum", "kid": "new" });
        let mut sealing = curve("sealing");
        sealing["use"] = json!("enc");
        let text = json!({ "keys": [oct, p384, strange, sealing, curve("good")] }).to_string();
        let found = verifiers(text.as_bytes()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].id.as_deref(), Some("good"));
        for wrong in ["", "[]", "{}", "{\"keys\": 1}"] {
            assert!(verifiers(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_set_is_asked_for_once_and_again_for_an_unknown_key_at_its_pace() {
        let site = Site::start(|asked| {
            let keys: Vec<_> = (0..=asked.count).map(|n| curve(&n.to_string())).collect();
            (200, json!({ "keys": keys }).to_string())
        })
        .await;
        let hour = Duration::from_secs(3_600);
        let slow = set(&site, hour, hour);
        let find = async |set: &Arc<KeySet>, id| set.find(Some(id), Algorithm::ES256).await.unwrap().len();
        assert_eq!(find(&slow, "0").await, 1);
        assert_eq!((find(&slow, "0").await, find(&slow, "1").await, find(&slow, "2").await), (1, 0, 0));
        assert_eq!(slow.find(None, Algorithm::RS256).await.unwrap().len(), 0);
        assert_eq!(site.asked().len(), 1, "not again within an hour");
        let quick = set(&site, Duration::ZERO, hour);
        assert_eq!((find(&quick, "1").await, find(&quick, "2").await, find(&quick, "1").await), (1, 1, 1));
        assert_eq!(site.asked().len(), 3);
    }

    #[tokio::test]
    async fn who_comes_at_once_shares_one_request() {
        let site = Site::start(|_| (200, json!({ "keys": [curve("a")] }).to_string())).await;
        let keys = set(&site, Duration::from_secs(3_600), Duration::from_secs(3_600));
        let all = (0..20).map(|_| {
            let keys = keys.clone();
            tokio::spawn(async move { keys.find(Some("a"), Algorithm::ES256).await.unwrap().len() })
        });
        for one in all.collect::<Vec<_>>() {
            assert_eq!(one.await.unwrap(), 1);
        }
        assert_eq!(site.asked().len(), 1);
    }

    #[tokio::test]
    async fn the_old_set_is_used_while_there_is_no_new_one() {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let site = Site::start(|_| match COUNT.fetch_add(1, Ordering::Relaxed) {
            0 => (503, String::new()),
            1 => (200, json!({ "keys": [curve("a")] }).to_string()),
            _ => (500, "broken".to_owned()),
        })
        .await;
        let keys = set(&site, Duration::ZERO, Duration::ZERO);
        assert_eq!(keys.find(Some("a"), Algorithm::ES256).await.unwrap_err(), BadToken::Unavailable);
        for _ in 0..3 {
            assert_eq!(keys.find(Some("a"), Algorithm::ES256).await.unwrap().len(), 1);
        }
        assert!(keys.find(Some("b"), Algorithm::ES256).await.unwrap().is_empty());
    }
}
