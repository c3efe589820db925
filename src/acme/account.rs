//! The account with the authority, which is made once and kept; and how the authority is spoken to.

use std::fs;
use std::future::Future;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use instant_acme::{Account, AccountCredentials, BodyWrapper, BytesResponse, HttpClient, NewAccount};
use sha2::{Digest, Sha256};

use super::{Error, Settings};
use crate::fetch::{BadTarget, Failed, Fetch, Target};
use crate::files;

/// The account of this directory: the one that is kept, or a new one.
pub(super) async fn account(settings: &Settings) -> Result<Account, Error> {
    let path = path(settings);
    let builder = Account::builder_with_http(Box::new(Http::new(settings)?));
    match fs::read(&path) {
        Ok(kept) => {
            let credentials: AccountCredentials =
                serde_json::from_slice(&kept).map_err(|source| Error::Account { path, source })?;
            Ok(builder.from_credentials(credentials).await?)
        }
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::File { path, source }),
        Err(_) => {
            let contact = format!("mailto:{}", settings.contact);
            let contact = if settings.contact.is_empty() { Vec::new() } else { vec![contact.as_str()] };
            let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
            let (account, credentials) = builder.create(&new, settings.directory.clone(), None).await?;
            let text = serde_json::to_vec(&credentials).map_err(instant_acme::Error::from)?;
            write(&path, &text)?;
            Ok(account)
        }
    }
}

/// Another directory has other accounts.
fn path(settings: &Settings) -> PathBuf {
    let digest = Sha256::digest(settings.directory.as_bytes());
    let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    settings.folder.join(format!("account-{name}.json"))
}

/// Keeps a file in the folder, which is made where there is none.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.and_then(|()| files::replace(path, content)).map_err(|source| Error::File { path: path.to_owned(), source })
}

/// Requests to the authority.
struct Http(Fetch);

impl Http {
    fn new(settings: &Settings) -> Result<Http, Error> {
        let target: Target = settings.directory.parse()?;
        let fetch = match &settings.ca_file {
            Some(path) => {
                let pem = fs::read(path).map_err(|source| Error::File { path: path.clone(), source })?;
                Fetch::trusting(&target, PATIENCE, LARGEST, &pem)?
            }
            None => Fetch::new(&target, PATIENCE, LARGEST)?,
        };
        Ok(Http(fetch))
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>>;

impl HttpClient for Http {
    fn request(&self, request: Request<BodyWrapper<Bytes>>) -> Answer {
        let fetch = self.0.clone();
        Box::pin(async move {
            let target: Target = request.uri().to_string().parse().map_err(other::<BadTarget>)?;
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(other)?.to_bytes();
            let answer = fetch.send(&target, Request::from_parts(head, Full::new(body))).await;
            Ok(BytesResponse::from(answer.map_err(other::<Failed>)?.map(Full::new)))
        })
    }
}

fn other<E: std::error::Error + Send + Sync + 'static>(error: E) -> instant_acme::Error {
    instant_acme::Error::Other(Box::new(error))
}

const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of an answer: a chain of certificates is some thousand.
const LARGEST: usize = 256 * 1024;
