//! The certificate that proves that a name leads here: for that name alone, with a digest that only the account's holder can
//! make (RFC 8737 section 3).

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A certificate and its key.
type Proof = (CertificateDer<'static>, PrivateKeyDer<'static>);

/// `digest`: SHA-256 of the key authorization, 32 bytes.
pub(super) fn certificate(domain: &str, digest: &[u8]) -> Result<Proof, rcgen::Error> {
    let mut params = CertificateParams::new([domain.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_has_the_name_and_the_digest() {
        let (made, _) = certificate("live.example", &[7; 32]).unwrap();
        let (_, read) = x509_parser::parse_x509_certificate(&made).unwrap();
        let identifier =
            read.extensions().iter().find(|found| found.oid.to_id_string() == "1.3.6.1.5.5.7.1.31").unwrap();
        assert!(identifier.critical && identifier.value.ends_with(&[7; 32]));
        let names = &read.subject_alternative_name().unwrap().unwrap().value.general_names;
        assert_eq!(format!("{names:?}"), "[DNSName(\"live.example\")]");
    }
}
