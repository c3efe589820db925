//! Scales I420 pictures. In Rust with SIMD, because GStreamer's scaler was the one part of a ladder that cost more than
//! ffmpeg's. A source of another shape is fitted in, between black borders. Pure but for the buffers.

use gstreamer as gst;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;
use headwater_scale::Resizer;

use super::studio::Picture;

/// Scales to one size.
pub(super) struct Scaler {
    width: u32,
    height: u32,
    resizer: Resizer,
    pool: Option<(gst::BufferPool, gst_video::VideoInfo)>,
}

/// Where the picture lies within its frame, in pixels; even.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Area {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
}

/// Black in limited range: luma, and both chromas.
const BLACK: [u8; 3] = [16, 128, 128];

impl Scaler {
    pub(super) fn new(width: u32, height: u32) -> Scaler {
        Scaler { width, height, resizer: Resizer::default(), pool: None }
    }

    /// The picture in this size; the same buffer where it has it already.
    pub(super) fn scale(&mut self, picture: &Picture) -> Result<Picture, String> {
        if (picture.info.width(), picture.info.height()) == (self.width, self.height) {
            return Ok(picture.clone());
        }
        let (pool, info) = self.pool()?;
        let mut buffer = pool.acquire_buffer(None).map_err(|error| format!("no memory for a picture: {error}"))?;
        let area = fit((picture.info.width(), picture.info.height()), (self.width, self.height));
        {
            let buffer = buffer.get_mut().ok_or("a picture is in use")?;
            let mut to =
                gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, &info).map_err(|e| e.to_string())?;
            let from = gst_video::VideoFrameRef::from_buffer_ref_readable(&picture.buffer, &picture.info)
                .map_err(|error| error.to_string())?;
            for plane in 0..3 {
                self.plane(&from, &mut to, plane, area)?;
            }
        }
        Ok(Picture { pts: picture.pts, buffer, info })
    }

    fn plane(
        &mut self,
        from: &gst_video::VideoFrameRef<&gst::BufferRef>,
        to: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
        plane: usize,
        area: Area,
    ) -> Result<(), String> {
        let half = u32::from(plane > 0);
        let number = plane as u32;
        let from_area = headwater_scale::Area {
            stride: from.plane_stride()[plane] as u32,
            left: 0,
            top: 0,
            width: (from.width() + half) >> half,
            height: (from.height() + half) >> half,
        };
        let to_area = headwater_scale::Area {
            stride: to.plane_stride()[plane] as u32,
            left: area.left >> half,
            top: area.top >> half,
            width: area.width >> half,
            height: area.height >> half,
        };
        let data = from.plane_data(number).map_err(|error| error.to_string())?;
        let target = to.plane_data_mut(number).map_err(|error| error.to_string())?;
        if (area.width, area.height) != (self.width, self.height) {
            target.fill(BLACK.get(plane).copied().unwrap_or_default());
        }
        self.resizer.scale((data, from_area), (target, to_area))
    }

    /// Buffers are used again and again.
    fn pool(&mut self) -> Result<(gst::BufferPool, gst_video::VideoInfo), String> {
        if let Some(pool) = &self.pool {
            return Ok(pool.clone());
        }
        let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, self.width, self.height)
            .build()
            .map_err(|error| error.to_string())?;
        let caps = info.to_caps().map_err(|error| error.to_string())?;
        let pool = gst_video::VideoBufferPool::new();
        let mut config = pool.config();
        config.set_params(Some(&caps), info.size() as u32, 2, 0);
        pool.set_config(config).map_err(|error| error.to_string())?;
        pool.set_active(true).map_err(|error| error.to_string())?;
        let pool = (pool.upcast::<gst::BufferPool>(), info);
        self.pool = Some(pool.clone());
        Ok(pool)
    }
}

impl Drop for Scaler {
    fn drop(&mut self) {
        if let Some((pool, _)) = &self.pool {
            let _ = pool.set_active(false);
        }
    }
}

/// The largest area of the source's shape, in the middle; a shape that is nearly the same fills the frame.
fn fit((width, height): (u32, u32), (to_width, to_height): (u32, u32)) -> Area {
    let wide = u64::from(width) * u64::from(to_height);
    let tall = u64::from(height) * u64::from(to_width);
    let whole = Area { left: 0, top: 0, width: to_width, height: to_height };
    if wide.abs_diff(tall) * 50 <= wide.max(tall) {
        return whole;
    }
    let even = |length: u64| (length as u32).max(2) & !1;
    let (fit_width, fit_height) = if wide > tall {
        (to_width, even(u64::from(to_width) * u64::from(height) / u64::from(width)).min(to_height))
    } else {
        (even(u64::from(to_height) * u64::from(width) / u64::from(height)).min(to_width), to_height)
    };
    let (left, top) = (((to_width - fit_width) / 2) & !1, ((to_height - fit_height) / 2) & !1);
    Area { left, top, width: fit_width, height: fit_height }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::media::Time;

    fn grey(width: u32, height: u32, luma: u8) -> Picture {
        gst::init().unwrap();
        let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, width, height).build().unwrap();
        let buffer = gst::Buffer::from_mut_slice(vec![luma; info.size()]);
        Picture { pts: Time::ZERO, buffer, info }
    }

    fn luma(picture: &Picture, x: u32, y: u32) -> u8 {
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(&picture.buffer, &picture.info).unwrap();
        frame.plane_data(0).unwrap()[(y * frame.plane_stride()[0] as u32 + x) as usize]
    }

    #[test]
    fn sizes_of_every_kind_are_scaled() {
        for (from, to) in
            [((1920, 1080), (1280, 720)), ((853, 479), (426, 240)), ((64, 64), (66, 70)), ((17, 9), (2, 2))]
        {
            let scaled = Scaler::new(to.0, to.1).scale(&grey(from.0, from.1, 90)).unwrap();
            assert_eq!((scaled.info.width(), scaled.info.height()), to);
            assert_eq!(luma(&scaled, to.0 / 2, to.1 / 2), 90, "{from:?} to {to:?}");
        }
    }

    #[test]
    fn another_shape_lies_between_black_borders() {
        let scaled = Scaler::new(640, 360).scale(&grey(480, 480, 200)).unwrap();
        assert_eq!((luma(&scaled, 10, 180), luma(&scaled, 320, 180), luma(&scaled, 630, 5)), (16, 200, 16));
        assert_eq!(fit((1920, 1080), (1280, 720)), Area { left: 0, top: 0, width: 1280, height: 720 });
        assert_eq!(fit((854, 480), (1280, 720)).width, 1280, "nearly the same shape");
    }

    #[test]
    fn a_picture_of_the_size_is_not_touched() {
        let picture = grey(320, 240, 7);
        let same = Scaler::new(320, 240).scale(&picture).unwrap();
        assert_eq!(same.buffer.as_ptr(), picture.buffer.as_ptr());
    }
}
