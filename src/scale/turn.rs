//! Turns a plane on its side: what was a row is a column.
//!
//! Sixteen rows are shuffled four times, as cards are: a byte of the first half, a byte of the second. Each time the highest bit
//! of a row's number becomes the lowest of its bytes' places, so that in the end a column stands together. That takes one
//! instruction for sixteen bytes.

/// Mirrors a plane of rows of `width` bytes at its diagonal: byte `x` of row `y` becomes byte `y` of row `x` in `into`,
/// whose rows begin `stride` bytes apart. `into` must have `width` rows of as many bytes as there are rows in `plane`.
pub(crate) fn turn(plane: &[u8], width: usize, into: &mut [u8], stride: usize, scratch: &mut Scratch) {
    if width == 0 {
        return;
    }
    let strips = plane.chunks_exact(width * ROWS);
    let rest = strips.remainder();
    let height = plane.len() / width;
    for (top, strip) in (0..).step_by(ROWS).zip(strips) {
        for (columns, column) in into.chunks_mut(stride).zip(scratch.columns(strip).chunks_exact(ROWS)) {
            columns[top..top + ROWS].copy_from_slice(column);
        }
    }
    for (y, row) in (height - rest.len() / width..).zip(rest.chunks_exact(width)) {
        for (columns, byte) in into.chunks_mut(stride).zip(row) {
            columns[y] = *byte;
        }
    }
}

/// Rows that are turned at once.
const ROWS: usize = 16;

/// Memory for one strip, twice.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    one: Vec<u8>,
    other: Vec<u8>,
}

impl Scratch {
    /// The columns of [`ROWS`] rows, one after the other.
    fn columns(&mut self, strip: &[u8]) -> &[u8] {
        self.one.resize(strip.len(), 0);
        self.other.resize(strip.len(), 0);
        shuffle(strip, &mut self.one);
        shuffle(&self.one, &mut self.other);
        shuffle(&self.other, &mut self.one);
        shuffle(&self.one, &mut self.other);
        &self.other
    }
}

fn shuffle(from: &[u8], into: &mut [u8]) {
    let (first, second) = from.split_at(from.len() / 2);
    for ((pair, first), second) in into.chunks_exact_mut(2).zip(first).zip(second) {
        pair[0] = *first;
        pair[1] = *second;
    }
}

#[cfg(test)]
mod tests {
    use super::{Scratch, turn};

    #[test]
    fn every_byte_finds_its_place_whatever_the_size() {
        let sizes = [
            (16, 16, 0),
            (8, 24, 3),
            (1, 1, 0),
            (7, 9, 2),
            (17, 16, 0),
            (16, 17, 5),
            (33, 31, 1),
            (9, 150, 0),
            (0, 0, 0),
        ];
        let mut scratch = Scratch::default();
        for (width, height, padding) in sizes {
            let plane: Vec<u8> = (0..width * height).map(|n| (n * 37 % 251) as u8).collect();
            let stride = height + padding;
            let mut into = vec![255; stride * width];
            turn(&plane, width, &mut into, stride, &mut scratch);
            for (at, byte) in into.iter().enumerate() {
                let (x, y) = (at / stride, at % stride);
                let expected = if y < height { plane[y * width + x] } else { 255 };
                assert_eq!(*byte, expected, "{width}x{height}: {x}, {y}");
            }
        }
    }
}
