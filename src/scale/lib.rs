//! Scales one plane of bytes: luma or chroma of a picture. Called by the ladder's scaler; knows no pictures, formats or
//! buffers. Bytes in, bytes out.
//!
//! A height is changed for a fraction of what a width costs, since neighbouring bytes then take the same weights. So both are
//! done as heights, with the plane turned on its side between them:
//!
//! ```text
//! height -> turn -> width, now a height -> turn back
//! ```

mod turn;

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8;
use fast_image_resize::{Filter, FilterType, ResizeAlg, ResizeOptions};

use turn::{Scratch, turn};

/// Keeps what one size of picture needs from one plane to the next.
#[derive(Debug, Default)]
pub struct Resizer {
    inner: fast_image_resize::Resizer,
    /// Of the right height, then turned.
    low: Vec<u8>,
    low_turned: Vec<u8>,
    /// Of the right width too, still turned.
    small_turned: Vec<u8>,
    scratch: Scratch,
}

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

/// How far from a pixel its neighbours still count, in pixels of the smaller picture.
const REACH: f64 = 2.0;

/// The cubic of Mitchell and Netravali without its first parameter, and with the second so that pictures come out nearly as
/// Lanczos would make them, for the price of a bicubic.
fn cubic(distance: f64) -> f64 {
    const SHARP: f64 = 0.85;
    match distance.abs() {
        x if x < 1.0 => ((2.0 - SHARP) * x + (SHARP - 3.0)) * x * x + 1.0,
        x if x < REACH => SHARP * (((5.0 - x) * x - 8.0) * x + 4.0),
        _ => 0.0,
    }
}

impl Resizer {
    /// Fills an area of one plane with an area of another. Errors say which plane is smaller than its area.
    pub fn scale(&mut self, from: (&[u8], Area), to: (&mut [u8], Area)) -> Result<(), String> {
        let ((bytes, area), (target, place)) = (from, to);
        check(bytes.len(), area)?;
        check(target.len(), place)?;
        columns(&mut self.inner, (bytes, area), &mut self.low, place.height)?;

        let low = length(area.width, place.height);
        let low_turned = first(&mut self.low_turned, low);
        turn(&self.low[..low], area.width as usize, low_turned, place.height as usize, &mut self.scratch);
        let whole = Area { stride: place.height, left: 0, top: 0, width: place.height, height: area.width };
        columns(&mut self.inner, (low_turned, whole), &mut self.small_turned, place.width)?;

        let small_turned = &self.small_turned[..length(place.width, place.height)];
        let corner = length(place.stride, place.top) + place.left as usize;
        let target = &mut target[corner..];
        turn(small_turned, place.height as usize, target, place.stride as usize, &mut self.scratch);
        Ok(())
    }
}

/// Scales an area to another height.
fn columns(
    resizer: &mut fast_image_resize::Resizer,
    (bytes, area): (&[u8], Area),
    into: &mut Vec<u8>,
    height: u32,
) -> Result<(), String> {
    let plane = TypedImageRef::<U8>::from_buffer(area.stride, area.top + area.height, bytes);
    let plane = plane.map_err(|error| said(&error))?;
    let image = TypedCroppedImage::from_ref(&plane, area.left, area.top, area.width, area.height);
    let into = first(into, length(area.width, height));
    let mut into = TypedImage::<U8>::from_buffer(area.width, height, into).map_err(|error| said(&error))?;
    let filter = Filter::new("cubic", cubic, REACH).map_err(|error| said(&error))?;
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Custom(filter)));
    resizer.resize_typed(&image.map_err(|error| said(&error))?, &mut into, &options).map_err(|error| said(&error))
}

/// So many bytes to write to. Never shrinks: planes of different sizes take turns.
fn first(bytes: &mut Vec<u8>, length: usize) -> &mut [u8] {
    if bytes.len() < length {
        bytes.resize(length, 0);
    }
    &mut bytes[..length]
}

fn length(width: u32, height: u32) -> usize {
    width as usize * height as usize
}

fn said(error: &dyn std::fmt::Display) -> String {
    format!("a picture cannot be scaled: {error}")
}

/// Sees to it that a plane of so many bytes has this area.
fn check(bytes: usize, area: Area) -> Result<(), String> {
    let Area { stride, left, top, width, height } = area;
    if left + width > stride {
        return Err(format!("rows of {stride} bytes have none of {width} from {left} on"));
    }
    if bytes < length(stride, top + height) {
        return Err(format!("a plane of {bytes} bytes has no {} rows of {stride}", top + height));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Area, Resizer, cubic};

    fn whole(width: u32, height: u32) -> Area {
        Area { stride: width, left: 0, top: 0, width, height }
    }

    #[test]
    fn weights_add_up_and_meet_where_the_pieces_do() {
        for step in 0..=10 {
            let at = f64::from(step) / 10.0;
            let sum: f64 = (-2..=2).map(|n| cubic(at + f64::from(n))).sum();
            assert!((sum - 1.0).abs() < 1e-9, "{at}: {sum}");
        }
        assert_eq!((cubic(0.0), cubic(1.0), cubic(-1.0), cubic(2.0), cubic(-2.5)), (1.0, 0.0, 0.0, 0.0, 0.0));
    }

    #[test]
    fn a_slope_stays_a_slope() {
        let plane: Vec<u8> = (0..120 * 60).map(|at| (at % 120 + at / 120) as u8).collect();
        let mut small = vec![0; 80 * 40];
        assert_eq!(Resizer::default().scale((&plane, whole(120, 60)), (&mut small, whole(80, 40))), Ok(()));
        for (x, y) in [(5, 5), (40, 20), (75, 35)] {
            let (exact, is) = ((x + y) as f64 * 1.5 + 0.5, f64::from(small[y * 80 + x]));
            assert!((exact - is).abs() <= 1.0, "{x}, {y}: {is} instead of {exact}");
        }
    }

    #[test]
    fn only_the_area_is_filled() {
        let plane = [vec![9; 40], vec![200; 40]].concat();
        let mut target = vec![1; 12 * 10];
        let area = Area { stride: 8, left: 0, top: 5, width: 8, height: 5 };
        let place = Area { stride: 12, left: 3, top: 2, width: 6, height: 7 };
        assert_eq!(Resizer::default().scale((&plane, area), (&mut target, place)), Ok(()));
        for (at, byte) in target.iter().enumerate() {
            let inside = (3..9).contains(&(at % 12)) && (2..9).contains(&(at / 12));
            assert_eq!(*byte, if inside { 200 } else { 1 }, "{at}");
        }
    }

    #[test]
    fn areas_beyond_their_planes_are_refused() {
        let mut resizer = Resizer::default();
        let mut small = [0; 16];
        for area in [whole(5, 4), whole(4, 5), Area { left: 1, ..whole(4, 4) }, Area { top: 1, ..whole(4, 4) }] {
            assert!(resizer.scale((&[0; 16], whole(4, 4)), (&mut small, area)).is_err(), "{area:?}");
            assert!(resizer.scale((&[0; 16], area), (&mut small, whole(4, 4))).is_err(), "{area:?}");
        }
    }
}
