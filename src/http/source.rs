//! What the edge asks for playlists and media: [`Hls`] in the server, a double in tests.

use std::future::Future;

use bytes::Bytes;

use crate::hls::{Hls, Media, Refusal, Reload, Rendered};

/// The giver of playlists and media. Its answers may take as long as the directives allow; a request whose client goes
/// away drops the future.
pub trait Source: Clone + Send + Sync + 'static {
    /// The multivariant playlist of a stream, as [`Hls::multivariant`].
    fn multivariant(&self, name: &str, plain: bool) -> impl Future<Output = Result<Rendered, Refusal>> + Send;

    /// A media playlist, as [`Hls::playlist`].
    fn playlist(
        &self,
        name: &str,
        rendition: &str,
        reload: Reload,
    ) -> impl Future<Output = Result<Rendered, Refusal>> + Send;

    /// An init section, segment or part, as [`Hls::media`].
    fn media(
        &self,
        name: &str,
        epoch: u64,
        rendition: &str,
        file: &str,
    ) -> impl Future<Output = Result<Media, Refusal>> + Send;

    /// A recent picture of a stream as JPEG, as [`Hls::still`].
    fn still(&self, name: &str) -> Result<Bytes, Refusal>;
}

impl Source for Hls {
    async fn multivariant(&self, name: &str, plain: bool) -> Result<Rendered, Refusal> {
        Hls::multivariant(self, name, plain).await
    }

    async fn playlist(&self, name: &str, rendition: &str, reload: Reload) -> Result<Rendered, Refusal> {
        Hls::playlist(self, name, rendition, reload).await
    }

    async fn media(&self, name: &str, epoch: u64, rendition: &str, file: &str) -> Result<Media, Refusal> {
        Hls::media(self, name, epoch, rendition, file).await
    }

    fn still(&self, name: &str) -> Result<Bytes, Refusal> {
        Hls::still(self, name)
    }
}
