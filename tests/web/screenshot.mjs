// A show worth looking at, and a picture of it on the watch page. `node screenshot.mjs FILE`, called by scripts/screenshot.

import { execFileSync, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { browse } from './browser.mjs';
import { address, serve, stop } from './server.mjs';
import { open } from './viewer.mjs';

const file = process.argv[2];
if (!file) throw new Error('usage: node screenshot.mjs FILE');

/** Half a minute of colours that flow into each other, under a clock: a picture that is clearly alive. */
const SECONDS = 30;
const start = Math.floor(Date.now() / 1000);
const PICTURE = [
  `gradients=size=1280x720:rate=30:duration=${SECONDS}:nb_colors=4:speed=0.0004:seed=5`,
  ':c0=0x0a2540:c1=0x12708f:c2=0x34c3b0:c3=0x2a3f8f:x0=0:y0=0:x1=1280:y1=720',
  `,drawtext=text='%{pts\\:localtime\\:${start}\\:%H\\\\\\:%M\\\\\\:%S}':fontsize=h/5:fontcolor=white`,
  ':shadowcolor=black@0.35:shadowx=3:shadowy=3:x=(w*0.78-tw)/2:y=(h-th)/2-h/24',
  ",drawtext=text='LIVE FROM FFMPEG':fontsize=h/26:fontcolor=white@0.85:x=(w*0.78-tw)/2:y=h*0.62",
].join('');

const folder = await mkdtemp(join(tmpdir(), 'headwater-screenshot-'));
const film = join(folder, 'film.mp4');
// Made before it is shown: a machine that paints, encodes, serves and decodes at once would show its own strain.
execFileSync('ffmpeg', [
  ...['-hide_banner', '-loglevel', 'error', '-nostdin', '-f', 'lavfi', '-i', PICTURE],
  ...['-f', 'lavfi', '-i', `sine=frequency=440:sample_rate=48000:duration=${SECONDS}`],
  ...['-c:v', 'libx264', '-preset', 'veryfast', '-tune', 'zerolatency', '-profile:v', 'main', '-pix_fmt', 'yuv420p', '-g', '60'],
  ...['-b:v', '2500k', '-maxrate', '2500k', '-bufsize', '1250k', '-c:a', 'aac', '-b:a', '128k', film],
]);

const server = await serve();
const publisher = spawn(
  'ffmpeg',
  ['-hide_banner', '-loglevel', 'error', '-nostdin', '-re', '-i', film, '-c', 'copy', '-f', 'flv', address(server, 'demo')],
  { stdio: ['ignore', 'ignore', 'inherit'] },
);
const browser = await browse({ colorScheme: 'dark' });
try {
  const viewer = await open(browser, `${server.http}/watch/demo`);
  await viewer.until('playing');
  await viewer.page.hover('.player');
  await viewer.page.click('[aria-label="Unmute"]');
  await viewer.page.click('button[aria-label="Statistics"]');
  // Some seconds, for a curve; then at rest.
  await viewer.when((s) => s.position > 16 && s.rate === 1 && Math.abs(s.latency - s.target) < 0.12, 'it is at rest');
  await viewer.page.mouse.move(400, 480);
  await viewer.page.waitForFunction(() => getComputedStyle(document.querySelector('.controls')).opacity === '1');
  await viewer.page.evaluate(() => document.activeElement.blur());
  await viewer.page.screenshot({ path: file });
  await viewer.close();
  console.log(`wrote ${file}`);
} finally {
  await browser.close();
  await stop(publisher);
  await server.close();
  await rm(folder, { recursive: true, force: true });
}
