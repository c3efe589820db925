//! What every mode that plays asks of the operator: which playlist, how long, over which HTTP. Makes the
//! [`Origin`] that connections are opened to.

use clap::Args;

use crate::http::Origin;
use crate::target::Target;
use crate::{Outcome, tls};

#[derive(Args, Clone, Debug)]
pub(crate) struct Play {
    /// Multivariant playlist, http:// or https://
    #[arg(long)]
    pub(crate) url: String,
    /// How long the run takes, in seconds
    #[arg(long, default_value_t = 20.0, value_parser = crate::seconds)]
    pub(crate) seconds: f64,
    /// One HTTP/2 connection per viewer instead of four of HTTP/1.1 (http: prior knowledge)
    #[arg(long)]
    pub(crate) http2: bool,
    /// Play whole segments with timed reloads, as players without LL-HLS do
    #[arg(long)]
    pub(crate) plain: bool,
    /// Request parts only once they are listed, exactly as hls.js does
    #[arg(long)]
    no_hints: bool,
    /// Accept any certificate
    #[arg(long)]
    insecure: bool,
    /// PEM file of the certificates to trust for https://
    #[arg(long, value_name = "FILE")]
    ca: Option<std::path::PathBuf>,
}

impl Play {
    /// Where to play from.
    pub(crate) fn origin(&self, allow_remote: bool) -> Outcome<Origin> {
        let mut target = Target::parse(&self.url, &["http", "https"], allow_remote)?;
        if self.plain {
            target.path += if target.path.contains('?') { "&ll=0" } else { "?ll=0" };
        }
        let trust = if self.insecure { Some(tls::Trust::Anyone) } else { self.ca.as_deref().map(tls::Trust::File) };
        let tls = match (target.scheme.as_str(), trust) {
            ("https", Some(trust)) => Some(tls::connector(trust, self.http2)?),
            ("https", None) => return Err("https:// needs --ca FILE or --insecure".into()),
            _ => None,
        };
        Ok(Origin { target, http2: self.http2, tls })
    }

    /// Whether hinted parts are requested before they exist.
    pub(crate) fn hints(&self) -> bool {
        !self.no_hints && !self.plain
    }
}
