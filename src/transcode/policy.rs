//! stub
use crate::hub::RungSpec;
use crate::media::{AudioConfig, VideoConfig};
/// stub
#[derive(Clone, Debug)]
pub struct Rule {
    /// stub
    pub height: u32,
    /// stub
    pub frame_rate: Option<f64>,
    /// stub
    pub bitrate: u64,
}
pub struct Source<'a> { pub video: &'a VideoConfig, pub frame_rate: f64, pub audio: Option<&'a AudioConfig> }
pub struct Decision { pub rungs: Vec<RungSpec>, pub stand_in: Option<RungSpec> }
pub fn decide(_rules: &[Rule], _audio_bitrate: u64, _source: &Source) -> Decision { Decision { rungs: vec![], stand_in: None } }
