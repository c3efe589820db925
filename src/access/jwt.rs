//! Tokens (RFC 7519) that somebody else signs: HS256, RS256 and ES256. What they must say, and whether they say enough.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use super::jwks::KeySet;
use super::{Action, Network, Secret, StreamName, StreamPattern};
use crate::fetch::{BadTarget, NoAuthorities, Target};

/// Who signs tokens, and what they must say.
#[derive(Clone, Debug, Default)]
pub struct TokenSettings {
    /// Shared with who signs by HS256.
    pub secret: Option<Secret>,
    /// PEM files with public keys of RSA (RS256) or of the curve P-256 (ES256).
    pub files: Vec<PathBuf>,
    /// Where a set of public keys (RFC 7517) is found.
    pub key_set: Option<Target>,
    /// Who must have issued them (`iss`); None is anybody.
    pub issuer: Option<String>,
    /// Whom they must be for (`aud`); None is anybody.
    pub audience: Option<String>,
}

impl TokenSettings {
    /// Whether any token can be checked.
    pub fn is_empty(&self) -> bool {
        self.secret.is_none() && self.files.is_empty() && self.key_set.is_none()
    }
}

/// Why tokens cannot be checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenKeyError {
    /// A file cannot be read or has no key.
    #[error("access.jwt_keys: {path}: {problem}; write the path of a PEM file with a public key of RSA or P-256", path = .0.display(), problem = .1)]
    File(PathBuf, String),
    /// No certificate authorities for the key set.
    #[error("access.jwks_url: {0}")]
    Authorities(#[from] NoAuthorities),
    /// No address of a web server.
    #[error("access.jwks_url: {0}")]
    Target(#[from] BadTarget),
}

/// Why a token does not open what was asked for. The texts are shown to whoever showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// No token at all, or without what it must have.
    #[error("this is no token that this server can read")]
    Malformed,
    /// Another algorithm than those that are taken.
    #[error("the token is signed by another algorithm than HS256, RS256 or ES256")]
    Algorithm,
    /// Nobody known signed it.
    #[error("the token is not signed by anybody this server knows")]
    Signature,
    /// Its time is over.
    #[error("the token has expired; ask for a new one")]
    Expired,
    /// Its time is yet to come.
    #[error("the token is not valid yet")]
    Early,
    /// Another issuer, or another audience.
    #[error("the token is from another issuer, or for another server")]
    Elsewhere,
    /// It does not allow this.
    #[error("the token does not allow this")]
    Grant,
    /// It is for other streams.
    #[error("the token is for another stream")]
    Stream,
    /// It is for other addresses.
    #[error("the token is for another address")]
    Address,
    /// The set of keys was never had.
    #[error("the server cannot check tokens now; try again in a moment")]
    Unavailable,
}

/// What a token says.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Claims {
    /// A stream name or pattern where `stream` is not there; else whoever the token is for.
    pub(super) sub: Option<String>,
    stream: Option<OneOrMany>,
    grant: OneOrMany,
    exp: u64,
    ip: Option<OneOrMany>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn any(&self, is: impl Fn(&str) -> bool) -> bool {
        match self {
            OneOrMany::One(text) => is(text),
            OneOrMany::Many(texts) => texts.iter().any(|text| is(text)),
        }
    }
}

impl Claims {
    /// Whether this opens what is asked for. `stream`: None asks for none.
    pub(super) fn allow(&self, action: Action, stream: Option<&StreamName>, address: IpAddr) -> Result<(), BadToken> {
        if !self.grant.any(|grant| grant == action.name()) {
            return Err(BadToken::Grant);
        }
        let fits = |name: &StreamName| {
            let is = |text: &str| text.parse().is_ok_and(|streams: StreamPattern| streams.matches(name.as_str()));
            match &self.stream {
                Some(streams) => streams.any(is),
                None => self.sub.as_deref().is_some_and(is),
            }
        };
        if !stream.is_none_or(fits) {
            return Err(BadToken::Stream);
        }
        let from = |text: &str| text.parse().is_ok_and(|network: Network| network.contains(address));
        if self.ip.as_ref().is_none_or(|networks| networks.any(from)) { Ok(()) } else { Err(BadToken::Address) }
    }

    /// When its time is over.
    pub(super) fn expires(&self) -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(Duration::from_secs(self.exp))
    }
}

/// Checks tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    verifiers: Vec<Arc<Verifier>>,
    key_set: Option<Arc<KeySet>>,
    validation: Validation,
}

/// One key, and the one algorithm it is for: a public key must never pass for a secret.
pub(super) struct Verifier {
    pub(super) algorithm: Algorithm,
    pub(super) id: Option<String>,
    pub(super) key: DecodingKey,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?}", self.algorithm, self.id)
    }
}

impl Tokens {
    /// Reads the files.
    pub(super) fn open(settings: &TokenSettings) -> Result<Tokens, TokenKeyError> {
        let shared = settings.secret.as_ref().map(|secret| Verifier {
            algorithm: Algorithm::HS256,
            id: None,
            key: DecodingKey::from_secret(secret.reveal().as_bytes()),
        });
        let mut verifiers: Vec<Arc<Verifier>> = shared.into_iter().map(Arc::new).collect();
        for path in &settings.files {
            verifiers.push(Arc::new(read_pem(path).map_err(|problem| TokenKeyError::File(path.clone(), problem))?));
        }
        let key_set = settings.key_set.clone().map(KeySet::new).transpose()?.map(Arc::new);
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = LEEWAY.as_secs();
        validation.validate_nbf = true;
        validation.validate_aud = settings.audience.is_some();
        if let Some(audience) = &settings.audience {
            validation.set_audience(&[audience]);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        if let Some(issuer) = &settings.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        Ok(Tokens { verifiers, key_set, validation })
    }

    /// What a token says, if somebody known signed it and its time is now.
    pub(super) async fn read(&self, token: &str) -> Result<Claims, BadToken> {
        if token.len() > LONGEST {
            return Err(BadToken::Malformed);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| bad(error.kind()))?;
        if !TAKEN.contains(&header.alg) {
            return Err(BadToken::Algorithm);
        }
        let fits = |verifier: &&Arc<Verifier>| verifier.algorithm == header.alg;
        for verifier in self.verifiers.iter().filter(fits) {
            match self.verify(token, verifier) {
                Err(BadToken::Signature) => {}
                read => return read,
            }
        }
        let Some(key_set) = self.key_set.as_ref().filter(|_| header.alg != Algorithm::HS256) else {
            return Err(BadToken::Signature);
        };
        for verifier in key_set.find(header.kid.as_deref(), header.alg).await? {
            match self.verify(token, &verifier) {
                Err(BadToken::Signature) => {}
                read => return read,
            }
        }
        Err(BadToken::Signature)
    }

    fn verify(&self, token: &str, verifier: &Verifier) -> Result<Claims, BadToken> {
        let validation = Validation { algorithms: vec![verifier.algorithm], ..self.validation.clone() };
        let read = jsonwebtoken::decode::<Claims>(token, &verifier.key, &validation);
        read.map(|read| read.claims).map_err(|error| bad(error.kind()))
    }
}

/// Whether a secret looks like a token.
pub(super) fn is_token(shown: &str) -> bool {
    shown.starts_with("eyJ") && shown.bytes().filter(|byte| *byte == b'.').count() == 2
}

fn bad(kind: &ErrorKind) -> BadToken {
    match kind {
        ErrorKind::InvalidSignature => BadToken::Signature,
        ErrorKind::ExpiredSignature => BadToken::Expired,
        ErrorKind::ImmatureSignature => BadToken::Early,
        ErrorKind::InvalidIssuer | ErrorKind::InvalidAudience => BadToken::Elsewhere,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName | ErrorKind::UnsupportedAlgorithm => {
            BadToken::Algorithm
        }
        _ => BadToken::Malformed,
    }
}

fn read_pem(path: &Path) -> Result<Verifier, String> {
    let text = fs::read(path).map_err(|error| error.to_string())?;
    let rsa = DecodingKey::from_rsa_pem(&text).map(|key| (Algorithm::RS256, key));
    let found = rsa.or_else(|_| DecodingKey::from_ec_pem(&text).map(|key| (Algorithm::ES256, key)));
    let (algorithm, key) = found.map_err(|error| error.to_string())?;
    Ok(Verifier { algorithm, id: None, key })
}

const TAKEN: [Algorithm; 3] = [Algorithm::HS256, Algorithm::RS256, Algorithm::ES256];
/// How far clocks may be apart.
const LEEWAY: Duration = Duration::from_secs(30);
/// Bytes of a token.
const LONGEST: usize = 8 * 1024;

#[cfg(test)]
#[path = "jwt_tests.rs"]
mod tests;
