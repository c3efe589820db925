//! Certificates: loads the chain and the key, and swaps them while connections run when the files change. A leaf that
//! the HTTP edge and RTMPS take their TLS configuration from.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::current::Current;

/// The certificate in use. Cheap to clone; all clones, and all configurations made from them, swap together.
#[derive(Clone, Debug)]
pub struct Certificates {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    cert: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    /// None while the first one is waited for.
    current: RwLock<Option<Arc<CertifiedKey>>>,
    /// What proves to a certificate authority that a name leads here (RFC 8737), by the name.
    proofs: RwLock<HashMap<String, Arc<CertifiedKey>>>,
    /// Certificates are got from an authority that wants such proofs.
    proves: bool,
    /// Of the files as they were when they were first read.
    first: Stamp,
}

impl Certificates {
    /// Loads a PEM chain, leaf first, and its PEM key.
    pub fn load(cert: &Path, key: &Path) -> Result<Certificates, Error> {
        let certificates = Certificates::none(cert, key, false);
        certificates.reload()?;
        Ok(certificates)
    }

    /// One that an authority gives, with its key in the same file; there may be none yet, or none that is of use.
    pub fn awaited(file: &Path) -> Certificates {
        let certificates = Certificates::none(file, file, true);
        if let Err(error) = certificates.reload() {
            tracing::info!(%error, "there is no certificate yet");
        }
        certificates
    }

    fn none(cert: &Path, key: &Path, proves: bool) -> Certificates {
        let shared = Shared {
            cert: cert.to_owned(),
            key: key.to_owned(),
            provider: Arc::new(aws_lc_rs::default_provider()),
            current: RwLock::default(),
            proofs: RwLock::default(),
            proves,
            first: Stamp::of(cert, key),
        };
        Certificates { shared: Arc::new(shared) }
    }

    /// Who asks for a name with ALPN `acme-tls/1` is shown this, until [`prove_no_more`](Certificates::prove_no_more).
    pub fn prove(
        &self,
        name: &str,
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
    ) -> Result<(), Error> {
        let key = self.shared.provider.key_provider.load_private_key(key).map_err(Error::Provider)?;
        // Not looked at as others are: what it proves by is an extension that no client of ours would take.
        let shown = CertifiedKey::new(vec![certificate], key);
        self.proofs().insert(name.to_ascii_lowercase(), Arc::new(shown));
        Ok(())
    }

    /// Nothing is to be proved any more.
    pub fn prove_no_more(&self) {
        self.proofs().clear();
    }

    fn proofs(&self) -> RwLockWriteGuard<'_, HashMap<String, Arc<CertifiedKey>>> {
        self.shared.proofs.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// For HTTP: offers HTTP/2 and HTTP/1.1.
    pub fn for_http(&self) -> Result<Arc<ServerConfig>, Error> {
        let mut config = self.config()?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Whoever asks by it wants to see the proof, and nothing more.
        config.alpn_protocols.extend(self.shared.proves.then(|| PROOF.to_vec()));
        Ok(Arc::new(config))
    }

    /// For RTMPS, whose clients name no protocol.
    pub fn for_rtmp(&self) -> Result<Arc<ServerConfig>, Error> {
        self.config().map(Arc::new)
    }

    /// Reads the files again. On an error the certificate in use stays.
    pub fn reload(&self) -> Result<(), Error> {
        let fresh = read(&self.shared.cert, &self.shared.key, &self.shared.provider)?;
        meter(&fresh);
        *self.shared.current.write().unwrap_or_else(PoisonError::into_inner) = Some(fresh);
        Ok(())
    }

    /// Looks at the files at every interval and reloads them when they changed; never ends. What cannot be used is
    /// logged once and tried again at the next change, so that a renewal that writes one file after the other is taken
    /// when both are there.
    pub async fn watch(self, interval: Current<Duration>) {
        let mut seen = self.shared.first;
        let mut changes = interval.follow();
        loop {
            let every = **changes.borrow_and_update();
            // Another interval begins at once, with another wait.
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                Ok(()) = changes.changed() => continue,
            }
            let this = self.clone();
            // Files may be on a disk that sleeps, so not on a thread that serves.
            let looked = tokio::task::spawn_blocking(move || this.look(seen)).await;
            seen = looked.unwrap_or(seen);
        }
    }

    fn look(&self, seen: Stamp) -> Stamp {
        let now = Stamp::of(&self.shared.cert, &self.shared.key);
        if now == seen {
            return now;
        }
        match self.reload() {
            Ok(()) => tracing::info!(cert = %self.shared.cert.display(), "certificate reloaded"),
            Err(error) => tracing::warn!(%error, "the new certificate cannot be used; the old one stays"),
        }
        now
    }

    fn config(&self) -> Result<ServerConfig, Error> {
        let mut config = ServerConfig::builder_with_provider(self.shared.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(Error::Provider)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        // Tickets spare a viewer who comes back the costly half of the handshake, on whichever thread.
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(Error::Provider)?;
        Ok(config)
    }
}

/// Tells until when the leaf holds.
fn meter(certified: &CertifiedKey) {
    let leaf = certified.cert.first().and_then(|leaf| x509_parser::parse_x509_certificate(leaf).ok());
    if let Some((_, leaf)) = leaf {
        let end = leaf.validity().not_after.timestamp();
        metrics::gauge!(crate::metrics::CERTIFICATE_EXPIRY, "listener" => "http").set(end as f64);
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if self.shared.proves && hello.alpn().is_some_and(|mut asked| asked.any(|protocol| protocol == PROOF)) {
            let name = hello.server_name()?.to_ascii_lowercase();
            return self.shared.proofs.read().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        }
        self.shared.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// RFC 8737 section 6.2.
const PROOF: &[u8] = b"acme-tls/1";

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {}: {source}; check the path and who may read it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is no PEM of the kind wanted.
    #[error("{} has no {wanted} in PEM form ({source}); it must have a line \"-----BEGIN ...-----\"", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        wanted: &'static str,
        /// What the parser said.
        source: pem::Error,
    },
    /// Both can be read, but not used together.
    #[error("{} and {} cannot be used: {source}; the key must be the certificate's own (RSA, ECDSA P-256/P-384/P-521 or Ed25519)", cert.display(), key.display())]
    Pair {
        /// The chain's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls said.
        source: rustls::Error,
    },
    /// The cryptography does not start.
    #[error("TLS cannot be set up: {0}")]
    Provider(#[source] rustls::Error),
}

/// When and how large: tells that a file was written, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp([Option<(SystemTime, u64)>; 2]);

impl Stamp {
    fn of(cert: &Path, key: &Path) -> Stamp {
        let stamp = |path| fs::metadata(path).ok().and_then(|file| Some((file.modified().ok()?, file.len())));
        Stamp([stamp(cert), stamp(key)])
    }
}

fn read(cert: &Path, key: &Path, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, Error> {
    let no_pem = |path: &Path, wanted| {
        let path = path.to_owned();
        move |source| Error::Pem { path, wanted, source }
    };
    let chain = CertificateDer::pem_slice_iter(&bytes(cert)?)
        .collect::<Result<Vec<_>, _>>()
        .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
        .map_err(no_pem(cert, "certificate"))?;
    let private = PrivateKeyDer::from_pem_slice(&bytes(key)?).map_err(no_pem(key, "private key"))?;
    CertifiedKey::from_der(chain, private, provider).map(Arc::new).map_err(|source| Error::Pair {
        cert: cert.to_owned(),
        key: key.to_owned(),
        source,
    })
}

fn bytes(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tempfile::TempDir;

    struct Files {
        _dir: TempDir,
        cert: PathBuf,
        key: PathBuf,
    }

    impl Files {
        fn new() -> Files {
            let dir = tempfile::tempdir().unwrap();
            let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
            let files = Files { _dir: dir, cert, key };
            files.renew();
            files
        }

        fn renew(&self) {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
            fs::write(&self.cert, made.cert.pem()).unwrap();
            fs::write(&self.key, made.signing_key.serialize_pem()).unwrap();
        }

        fn load(&self) -> Result<Certificates, Error> {
            Certificates::load(&self.cert, &self.key)
        }
    }

    fn leaf(certificates: &Certificates) -> Vec<u8> {
        certificates.shared.current.read().unwrap().as_ref().unwrap().cert[0].to_vec()
    }

    #[test]
    fn offers_what_each_protocol_needs() {
        let certificates = Files::new().load().unwrap();
        assert_eq!(certificates.for_http().unwrap().alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        assert!(certificates.for_rtmp().unwrap().alpn_protocols.is_empty());
    }

    #[test]
    fn errors_name_the_file_and_the_remedy() {
        let files = Files::new();
        let missing = Certificates::load(Path::new("/nowhere/cert.pem"), &files.key).unwrap_err().to_string();
        assert!(missing.contains("/nowhere/cert.pem") && missing.contains("check the path"), "{missing}");
        let swapped = Certificates::load(&files.key, &files.cert).unwrap_err().to_string();
        assert!(swapped.contains("key.pem has no certificate"), "{swapped}");
        let keyless = Certificates::load(&files.cert, &files.cert).unwrap_err().to_string();
        assert!(keyless.contains("cert.pem has no private key"), "{keyless}");
        let other = Files::new();
        let mixed = Certificates::load(&files.cert, &other.key).unwrap_err().to_string();
        assert!(mixed.contains("must be the certificate's own"), "{mixed}");
    }

    #[test]
    fn a_renewal_is_taken_and_a_bad_one_is_not() {
        let files = Files::new();
        let certificates = files.load().unwrap();
        let first = leaf(&certificates);
        fs::write(&files.cert, "rubbish").unwrap();
        let seen = certificates.look(certificates.shared.first);
        assert_ne!(seen, certificates.shared.first);
        assert_eq!(leaf(&certificates), first);
        files.renew();
        certificates.look(seen);
        assert_ne!(leaf(&certificates), first);
    }

    #[tokio::test(start_paused = true)]
    async fn the_watch_sees_a_change() {
        let files = Files::new();
        let certificates = files.load().unwrap();
        let first = leaf(&certificates);
        let watch = tokio::spawn(certificates.clone().watch(Current::new(Duration::from_secs(1))));
        files.renew();
        for _ in 0..1000 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if leaf(&certificates) != first {
                break;
            }
        }
        assert_ne!(leaf(&certificates), first);
        watch.abort();
    }
}
