//! Certificates that are got and renewed by themselves (ACME, RFC 8555), proved by a TLS handshake on the port that is served
//! anyway (tls-alpn-01, RFC 8737). `server` runs [`keep`]; what was got goes to `tls`. Never listens, and never holds a start up.

mod account;
mod order;
mod proof;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

use crate::events::Events;
use crate::fetch::NoAuthorities;
use crate::tls::Certificates;

/// What certificates are got for, and from whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Host names, the first as the certificate's own. Not empty.
    pub domains: Vec<String>,
    /// A mail address for the authority's notices; may be empty.
    pub contact: String,
    /// Address of the authority's directory.
    pub directory: String,
    /// Authorities in PEM form by which the directory is trusted, beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Where account and certificate are kept, readable by this user alone.
    pub folder: PathBuf,
}

impl Settings {
    /// Where the certificate is, with its key in the same file, so that both change at once.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("certificate.pem")
    }
}

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The authority cannot be asked, or says no.
    #[error("{0}")]
    Authority(#[from] instant_acme::Error),
    /// The address is none.
    #[error("acme.directory: {0}")]
    Directory(#[from] crate::fetch::BadTarget),
    /// The directory's own certificate cannot be judged.
    #[error(transparent)]
    Trust(#[from] NoAuthorities),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The account's file is not what was written.
    #[error("{} is no account ({source}); remove it, and another account is made", path.display())]
    Account {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The proof cannot be made.
    #[error("the proof for {domain} cannot be made: {source}")]
    Proof {
        /// For which name.
        domain: String,
        /// Why.
        source: rcgen::Error,
    },
    /// The authority offers no proof over TLS.
    #[error("the authority takes no tls-alpn-01 for {0}")]
    Unprovable(String),
    /// The authority did not find the proof.
    #[error("the authority could not verify {domain}: {why}; port 443 of that name must lead to http.tls_listen")]
    Unproved {
        /// The name.
        domain: String,
        /// What it says.
        why: String,
    },
    /// What came is no certificate that can be served.
    #[error("the certificate that came cannot be used: {0}")]
    Unusable(#[from] crate::tls::Error),
}

/// Gets a certificate whenever there is none, it is for other names, or a third of its life is left; never ends.
pub async fn keep(settings: Settings, certificates: Certificates, events: Events) {
    let mut failures = 0;
    loop {
        let now = SystemTime::now();
        let due =
            Held::read(&settings.certificate()).filter(|held| held.covers(&settings.domains)).map(|held| held.due());
        if let Some(wait) = due.and_then(|due| due.duration_since(now).ok()).filter(|wait| !wait.is_zero()) {
            // The clock may be set meanwhile.
            tokio::time::sleep(wait.min(LOOK)).await;
            continue;
        }
        match order::obtain(&settings, &certificates).await {
            Ok(()) => {
                failures = 0;
                let until = Held::read(&settings.certificate()).map_or(0, |held| seconds(held.expires));
                tracing::info!(domains = ?settings.domains, "a certificate was got");
                events.say(
                    "certificate.obtained",
                    None,
                    json!({ "domains": settings.domains, "expires_ms": until * 1_000 }),
                );
            }
            Err(error) => {
                let wait = pause(failures);
                failures += 1;
                tracing::error!(domains = ?settings.domains, again_in = ?wait, "no certificate: {error}");
                let said =
                    json!({ "domains": settings.domains, "reason": error.to_string(), "again_s": wait.as_secs() });
                events.say("certificate.failed", None, said);
                tokio::time::sleep(wait).await;
            }
        }
    }
}

/// What is known of a certificate.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    names: Vec<String>,
    begins: SystemTime,
    expires: SystemTime,
}

impl Held {
    /// None where there is none, or none that can be read.
    fn read(path: &Path) -> Option<Held> {
        Held::of(&fs::read(path).ok()?)
    }

    /// Of the first certificate in a PEM text.
    fn of(text: &[u8]) -> Option<Held> {
        let pem = Pem::iter_from_buffer(text).filter_map(Result::ok).find(|pem| pem.label == "CERTIFICATE")?;
        let certificate = pem.parse_x509().ok()?;
        let names = certificate.subject_alternative_name().ok()??.value.general_names.iter();
        let names = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        });
        let time = |seconds: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let validity = certificate.validity();
        let (begins, expires) = (time(validity.not_before.timestamp()), time(validity.not_after.timestamp()));
        Some(Held { names: names.collect(), begins, expires })
    }

    fn covers(&self, domains: &[String]) -> bool {
        domains.iter().all(|domain| self.names.iter().any(|name| name.eq_ignore_ascii_case(domain)))
    }

    /// When a third of its life is left.
    fn due(&self) -> SystemTime {
        let life = self.expires.duration_since(self.begins).unwrap_or_default();
        self.begins + life * 2 / 3
    }
}

/// After so many failures in a row. A hiccup is soon over; authorities count what fails within an hour.
fn pause(failures: u32) -> Duration {
    match failures.checked_sub(1) {
        None => FIRST_PAUSE,
        Some(more) => SECOND_PAUSE.saturating_mul(2_u32.saturating_pow(more)).min(LONGEST_PAUSE),
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// How often it is looked whether a renewal is due.
const LOOK: Duration = Duration::from_secs(3_600);
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const SECOND_PAUSE: Duration = Duration::from_secs(15 * 60);
const LONGEST_PAUSE: Duration = Duration::from_secs(12 * 3_600);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_certificate_is_due_when_a_third_of_its_life_is_left() {
        let mut params = rcgen::CertificateParams::new(["live.example".to_owned(), "two.example".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 1, 31);
        let key = rcgen::KeyPair::generate().unwrap();
        let text = key.serialize_pem() + &params.self_signed(&key).unwrap().pem();
        let held = Held::of(text.as_bytes()).unwrap();
        assert_eq!(held.due().duration_since(held.begins).unwrap(), Duration::from_secs(20 * 86_400));
        let covers = |names: &[&str]| held.covers(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert!(covers(&["live.example"]) && covers(&["Two.Example", "live.example"]) && !covers(&["three.example"]));
        for rubbish in ["", "rubbish", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert_eq!(Held::of(rubbish.as_bytes()), None);
        }
    }

    #[test]
    fn pauses_grow_and_have_an_end() {
        let minutes = [0, 1, 2, 3, 9, 100].map(|failures| pause(failures).as_secs() / 60);
        assert_eq!(minutes, [1, 15, 30, 60, 720, 720]);
    }
}
