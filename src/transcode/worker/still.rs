//! A still picture from one key frame: decoded, scaled down, JPEG. Nothing is kept from one to the next.

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;

use super::decoder::{caps, element, parse};
use crate::media::{Config, VideoConfig};
use crate::transcode::wire::{Still, StillOrder};

/// Makes it. Without a JPEG if it cannot be decoded.
pub(super) fn make(order: &StillOrder) -> Still {
    let jpeg = match &order.config {
        Config::Video(video) => picture(video, order).unwrap_or_else(|why| {
            super::complain(&format!("no still picture: {why}"));
            Bytes::new()
        }),
        Config::Audio(_) => Bytes::new(),
    };
    Still { id: order.id, jpeg }
}

fn picture(video: &VideoConfig, order: &StillOrder) -> Result<Bytes, String> {
    // The height follows from the shape, which only the decoder knows: pixels need not be square.
    let width = video.width.clamp(1, order.width.max(1));
    let elements = element(video)?;
    let text = format!(
        "appsrc name=source format=time ! {elements} ! deinterlace fields=top ! videoconvert ! videoscale add-borders=false \
         ! video/x-raw,format=I420,width={width},pixel-aspect-ratio=1/1 ! jpegenc quality={QUALITY} \
         ! appsink name=sink sync=false"
    );
    let (pipeline, source, sink) = parse(&text)?;
    source.set_caps(Some(&caps(video)));
    let mut buffer = gst::Buffer::from_slice(order.payload.clone());
    if let Some(buffer) = buffer.get_mut() {
        buffer.set_pts(gst::ClockTime::ZERO);
        buffer.set_dts(gst::ClockTime::ZERO);
    }
    let made = (|| {
        pipeline.set_state(gst::State::Playing).map_err(|_| "the decoder does not start".to_owned())?;
        source.push_buffer(buffer).map_err(|error| error.to_string())?;
        source.end_of_stream().map_err(|error| error.to_string())?;
        let sample = sink.try_pull_sample(PATIENCE).ok_or("nothing came out")?;
        let buffer = sample.buffer().ok_or("nothing came out")?;
        let map = buffer.map_readable().map_err(|error| error.to_string())?;
        Ok(Bytes::copy_from_slice(&map))
    })();
    let _ = pipeline.set_state(gst::State::Null);
    made
}

/// Of JPEG, in percent.
const QUALITY: u32 = 80;
/// For one picture of any size.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(2);
