//! One order: names proved, key made, certificate got and put where it is served from.

use instant_acme::{
    AuthorizationHandle, AuthorizationStatus, ChallengeType, Identifier, NewOrder, Order, OrderStatus, RetryPolicy,
};

use super::account::{account, write};
use super::{Error, Settings, proof};
use crate::tls::Certificates;

/// Gets a certificate for all names, and serves it.
pub(super) async fn obtain(settings: &Settings, certificates: &Certificates) -> Result<(), Error> {
    let account = account(settings).await?;
    let names: Vec<Identifier> = settings.domains.iter().cloned().map(Identifier::Dns).collect();
    let mut order = account.new_order(&NewOrder::new(&names)).await?;
    let proofs = Proofs(certificates);
    prove(&mut order, &proofs).await?;
    if order.poll_ready(&PATIENCE).await? != OrderStatus::Ready {
        return Err(refusal(&mut order).await);
    }
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&PATIENCE).await?;
    drop(proofs);
    write(&settings.certificate(), format!("{key}{chain}").as_bytes())?;
    Ok(certificates.reload()?)
}

/// Shows a proof for each name that the authority has not seen one for lately.
async fn prove(order: &mut Order, proofs: &Proofs<'_>) -> Result<(), Error> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization: AuthorizationHandle<'_> = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let domain = authorization.identifier().to_string();
        let Some(mut challenge) = authorization.challenge(ChallengeType::TlsAlpn01) else {
            return Err(Error::Unprovable(domain));
        };
        let made = proof::certificate(&domain, challenge.key_authorization().digest().as_ref());
        let (certificate, key) = made.map_err(|source| Error::Proof { domain: domain.clone(), source })?;
        proofs.0.prove(&domain, certificate, key)?;
        challenge.set_ready().await?;
    }
    Ok(())
}

/// Why an order did not become ready.
async fn refusal(order: &mut Order) -> Error {
    let mut authorizations = order.authorizations();
    while let Some(Ok(authorization)) = authorizations.next().await {
        let failed = authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref());
        if let Some(problem) = failed {
            return Error::Unproved { domain: authorization.identifier().to_string(), why: problem.to_string() };
        }
    }
    let domain = "the names".to_owned();
    Error::Unproved { domain, why: "it gave no reason".to_owned() }
}

/// Proofs are shown as long as this lives.
struct Proofs<'a>(&'a Certificates);

impl Drop for Proofs<'_> {
    fn drop(&mut self) {
        self.0.prove_no_more();
    }
}

/// Authorities look from several places, and take their time.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(std::time::Duration::from_secs(120));
