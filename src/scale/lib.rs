//! Scales one plane of bytes: luma or chroma of a picture. Called by the ladder's scaler; knows no pictures, formats or
//! buffers. Bytes in, bytes out.

use fast_image_resize::images::{CroppedImage, CroppedImageMut, Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions};

/// Keeps what one size of picture needs from one plane to the next.
#[derive(Debug, Default)]
pub struct Resizer(fast_image_resize::Resizer);

/// The part of a plane that counts, in bytes from its first row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Bytes from the start of one row to the start of the next.
    pub stride: u32,
    /// Left edge.
    pub left: u32,
    /// Top row.
    pub top: u32,
    /// Bytes of a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// As sharp as ffmpeg's own choice, a bicubic.
const FILTER: FilterType = FilterType::CatmullRom;

impl Resizer {
    /// Fills an area of one plane with an area of another. Errors say which plane is smaller than its area.
    pub fn scale(&mut self, from: (&[u8], Area), to: (&mut [u8], Area)) -> Result<(), String> {
        let said = |error: &dyn std::fmt::Display| format!("a picture cannot be scaled: {error}");
        let (bytes, area) = from;
        let rows = rows(bytes.len(), area)?;
        let image = ImageRef::new(area.stride, rows, &bytes[..(area.stride * rows) as usize], PixelType::U8)
            .map_err(|error| said(&error))?;
        let image = CroppedImage::new(&image, area.left, area.top, area.width, area.height)
            .map_err(|error| said(&error))?;
        let (bytes, area) = to;
        let rows = self::rows(bytes.len(), area)?;
        let bytes = &mut bytes[..(area.stride * rows) as usize];
        let mut target =
            Image::from_slice_u8(area.stride, rows, bytes, PixelType::U8).map_err(|error| said(&error))?;
        let mut target = CroppedImageMut::new(&mut target, area.left, area.top, area.width, area.height)
            .map_err(|error| said(&error))?;
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FILTER));
        self.0.resize(&image, &mut target, &options).map_err(|error| said(&error))
    }
}

/// Whole rows of a plane of so many bytes; the last may lack what lies beyond the area.
fn rows(bytes: usize, area: Area) -> Result<u32, String> {
    let rows = u32::try_from(bytes / area.stride.max(1) as usize).unwrap_or(u32::MAX).min(area.top + area.height);
    if rows < area.top + area.height {
        return Err(format!("a plane of {bytes} bytes has no {} rows of {}", area.top + area.height, area.stride));
    }
    Ok(rows)
}
