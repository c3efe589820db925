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
    let (width, height) = size((video.width, video.height), order.width);
    let elements = element(video)?;
    let text = format!(
        "appsrc name=source format=time ! {elements} ! deinterlace fields=top ! videoconvert ! videoscale add-borders=false \
         ! video/x-raw,format=I420,width={width},height={height},pixel-aspect-ratio=1/1 ! jpegenc quality={QUALITY} \
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

/// At most so wide, in the same shape, even.
fn size((width, height): (u32, u32), most: u32) -> (u32, u32) {
    let (width, height) = (width.max(1), height.max(1));
    let even = |length: u64| (length.max(2) & !1) as u32;
    let to = u64::from(width.min(most.max(2)));
    (even(to), even(to * u64::from(height) / u64::from(width)))
}

/// Of JPEG, in percent.
const QUALITY: u32 = 80;
/// For one picture of any size.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stills_keep_the_shape_and_never_grow() {
        assert_eq!(size((1920, 1080), 640), (640, 360));
        assert_eq!(size((853, 479), 640), (640, 358));
        assert_eq!(size((320, 240), 640), (320, 240));
        assert_eq!(size((1080, 1920), 640), (640, 1136));
        assert_eq!(size((1, 16_384), 640), (2, 16_384));
    }
}
