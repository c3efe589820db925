// A clock burnt into the picture: 48 black or white cells in two rows at the top left carry 32 bits of time in milliseconds,
// 8 bits that name the source, and a CRC-8 over both. Encoders soften cells, and never so much that black becomes white.

/** Cell edge in pixels of the source, and cells in a row. */
export const CELL = 24;
export const COLUMNS = 24;
export const ROWS = 2;

/** The 48 bits for a time, most significant first. */
export function bitsOf(ms, source) {
  const bytes = [ms >>> 24, ms >>> 16, ms >>> 8, ms, source].map((byte) => byte & 0xff);
  return [...bytes, crc8(bytes)].flatMap((byte) => [7, 6, 5, 4, 3, 2, 1, 0].map((bit) => (byte >> bit) & 1));
}

/** CRC-8 with polynomial 0x07, as ATM headers have it. */
function crc8(bytes) {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = (crc & 0x80 ? (crc << 1) ^ 0x07 : crc << 1) & 0xff;
  }
  return crc;
}

/** Paints the cells into the luma plane of a frame. */
export function paint(luma, width, ms, source) {
  bitsOf(ms, source).forEach((bit, i) => {
    const left = (i % COLUMNS) * CELL;
    const top = Math.floor(i / COLUMNS) * CELL;
    for (let y = top; y < top + CELL; y++) luma.fill(bit ? 235 : 16, y * width + left, y * width + left + CELL);
  });
}

/**
 * Runs in the page: reads every frame that the video element shows. `window.glass.frames` is a list of
 * `[shown at, age of the picture, presented frames]` (ms, ms, count); an age of -1 is a clock that could not be read.
 */
export function reader({ width, cell, columns, rows }) {
  const canvas = new OffscreenCanvas(columns * 4, rows * 4);
  const pen = canvas.getContext('2d', { willReadFrequently: true });
  const glass = { frames: [], first: null };
  window.glass = glass;

  const read = (video) => {
    const scale = video.videoWidth / width;
    pen.drawImage(video, 0, 0, columns * cell * scale, rows * cell * scale, 0, 0, canvas.width, canvas.height);
    const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
    const bytes = [0, 0, 0, 0, 0, 0];
    for (let i = 0; i < columns * rows; i++) {
      // The middle four of a cell's sixteen pixels.
      const x = (i % columns) * 4 + 1;
      const y = Math.floor(i / columns) * 4 + 1;
      const at = (dx, dy) => data[((y + dy) * canvas.width + x + dx) * 4 + 1];
      const bright = at(0, 0) + at(1, 0) + at(0, 1) + at(1, 1) > 4 * 128;
      if (bright) bytes[i >> 3] |= 0x80 >> (i & 7);
    }
    let crc = 0;
    for (const byte of bytes.slice(0, 5)) {
      crc ^= byte;
      for (let i = 0; i < 8; i++) crc = (crc & 0x80 ? (crc << 1) ^ 0x07 : crc << 1) & 0xff;
    }
    if (crc !== bytes[5]) return null;
    return ((bytes[0] << 24) | (bytes[1] << 16) | (bytes[2] << 8) | bytes[3]) >>> 0;
  };

  const seen = (video) => (_, frame) => {
    const now = performance.timeOrigin + performance.now();
    const stamp = read(video);
    glass.first ??= performance.now();
    glass.frames.push([now, stamp === null ? -1 : (now - stamp) % 2 ** 32 & 0x7fffffff, frame.presentedFrames]);
    video.requestVideoFrameCallback(seen(video));
  };

  const find = () => {
    const video = document.querySelector('video');
    if (video) video.requestVideoFrameCallback(seen(video));
    else requestAnimationFrame(find);
  };
  find();
}
