// The publisher of the measurement: raw frames, stamped with the wall clock as they are written, through x264 without any
// look-ahead to RTMP, with a tone beside them. `node source.mjs RTMP_URL` runs it by hand.

import { spawn } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { paint } from './clock.mjs';
import { stop } from '../server.mjs';

export const WIDTH = 640;
const HEIGHT = 360;
const RATE = 30;
/** So far ahead of the pictures the sound begins. */
const AHEAD_MS = 200;
/** What the stream costs, sound included, in bit/s: throttling has to know. */
export const BITRATE = 1_600_000;

export function publishClock(url, source = 1) {
  const child = spawn('ffmpeg', [
    ...['-hide_banner', '-loglevel', 'error', '-nostdin', '-progress', 'pipe:1', '-stats_period', '0.05'],
    ...['-f', 'rawvideo', '-pixel_format', 'yuv420p', '-video_size', `${WIDTH}x${HEIGHT}`, '-framerate', String(RATE), '-i', 'pipe:0'],
    ...['-re', '-f', 'lavfi', '-i', 'sine=frequency=440:sample_rate=48000'],
    ...['-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-g', '60', '-keyint_min', '60', '-sc_threshold', '0'],
    ...['-b:v', '1500k', '-maxrate', '1500k', '-bufsize', '300k', '-c:a', 'aac', '-b:a', '96k'],
    ...['-flush_packets', '1', '-f', 'flv', url],
  ], { stdio: ['pipe', 'pipe', 'inherit'] });
  const frames = pictures();
  let began = 0;
  let count = 0;
  let ended = false;
  const tick = () => {
    if (ended) return;
    // A frame that is late is written at once, and the next ones keep to the plan: the rate is exact, as a camera's is.
    while (began + (count * 1000) / RATE <= performance.now()) {
      if (child.stdin.writableLength < 2 * WIDTH * HEIGHT * 1.5) child.stdin.write(frames(count, Date.now(), source));
      count += 1;
    }
    setTimeout(tick, Math.max(1, began + (count * 1000) / RATE - performance.now()));
  };
  child.stdin.on('error', () => {
    ended = true;
  });
  // What is written before ffmpeg is at work waits in its queue, and all that follows waits behind it: the clock starts
  // when the first frame has come out of the encoder.
  child.stdin.write(frames(0, Date.now(), source));
  const start = (line) => {
    if (!/^frame=[1-9]/m.test(line)) return;
    child.stdout.off('data', start).resume();
    // Later than the sound, which ffmpeg paces: pictures that are ahead of their sound wait for it in ffmpeg.
    began = performance.now() + AHEAD_MS;
    tick();
  };
  child.stdout.setEncoding('utf8').on('data', start);
  return {
    stop: () => {
      ended = true;
      return stop(child, 'SIGINT');
    },
  };
}

/** A bar that wanders over a gradient, and a band of noise that costs the bits which a real picture costs. */
function pictures() {
  const luma = WIDTH * HEIGHT;
  const ground = Buffer.alloc(luma * 1.5, 128);
  for (let y = 0; y < HEIGHT; y++) ground.fill(40 + Math.floor((y / HEIGHT) * 120), y * WIDTH, (y + 1) * WIDTH);
  const noise = Array.from({ length: 8 }, () => randomFillSync(Buffer.alloc(WIDTH * 64)).map((byte) => 96 + (byte >> 2)));
  return (count, ms, source) => {
    const frame = Buffer.from(ground);
    const left = (count * 6) % (WIDTH - 40);
    for (let y = 64; y < 240; y++) frame.fill(220, y * WIDTH + left, y * WIDTH + left + 40);
    noise[count % noise.length].copy(frame, 260 * WIDTH);
    paint(frame, WIDTH, ms % 2 ** 32, source);
    return frame;
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const clock = publishClock(process.argv[2] ?? 'rtmp://127.0.0.1:1935/live/glass');
  process.once('SIGINT', () => void clock.stop().then(() => process.exit(0)));
}
