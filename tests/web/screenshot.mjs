// Shows worth looking at, a picture of one on the watch page, and of all on the admin page. `node screenshot.mjs FOLDER`,
// called by scripts/screenshot.

import { execFileSync, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { browse } from './browser.mjs';
import { ADMIN_TOKEN, address, serve, stop } from './server.mjs';
import { open } from './viewer.mjs';

const shots = process.argv[2];
if (!shots) throw new Error('usage: node screenshot.mjs FOLDER');

/** Half a minute each of colours that flow into each other, under a clock: pictures that are clearly alive. */
const SECONDS = 30;
const start = Math.floor(Date.now() / 1000);
const picture = ([from, to], seed, title) => [
  `gradients=size=1280x720:rate=30:duration=${SECONDS}:nb_colors=4:speed=0.0004:seed=${seed}`,
  `:c0=${from}:c1=0x12708f:c2=${to}:c3=0x2a3f8f:x0=0:y0=0:x1=1280:y1=720`,
  `,drawtext=text='%{pts\\:localtime\\:${start}\\:%H\\\\\\:%M\\\\\\:%S}':fontsize=h/5:fontcolor=white`,
  ':shadowcolor=black@0.35:shadowx=3:shadowy=3:x=(w*0.78-tw)/2:y=(h-th)/2-h/24',
  `,drawtext=text='${title}':fontsize=h/26:fontcolor=white@0.85:x=(w*0.78-tw)/2:y=h*0.62`,
].join('');
/** Name, picture, key frames, bit rate. The last has what the doctor objects to. */
const SHOWS = [
  ['demo', picture(['0x0a2540', '0x34c3b0'], 5, 'LIVE FROM FFMPEG'), 60, '2500k'],
  ['main-stage', picture(['0x40100a', '0xc36a34'], 9, 'MAIN STAGE'), 60, '3200k'],
  ['backstage', picture(['0x2a0a40', '0xb034c3'], 3, 'BACKSTAGE'), 250, '1800k'],
];

const folder = await mkdtemp(join(tmpdir(), 'headwater-screenshot-'));
const film = (name) => join(folder, `${name}.mp4`);
// Made before they are shown: a machine that paints, encodes, serves and decodes at once would show its own strain.
for (const [name, source, group, rate] of SHOWS) {
  execFileSync('ffmpeg', [
    ...['-hide_banner', '-loglevel', 'error', '-nostdin', '-f', 'lavfi', '-i', source],
    ...['-f', 'lavfi', '-i', `sine=frequency=440:sample_rate=48000:duration=${SECONDS}`],
    ...['-c:v', 'libx264', '-preset', 'veryfast', '-tune', 'zerolatency', '-profile:v', 'main', '-pix_fmt', 'yuv420p', '-g', String(group)],
    ...['-b:v', rate, '-maxrate', rate, '-bufsize', '1250k', '-c:a', 'aac', '-b:a', '128k', film(name)],
  ]);
}

const server = await serve();
const show = ([name]) => spawn(
  'ffmpeg',
  ['-hide_banner', '-loglevel', 'error', '-nostdin', '-re', '-stream_loop', '-1', '-i', film(name), '-c', 'copy', '-f', 'flv', address(server, name)],
  { stdio: ['ignore', 'ignore', 'inherit'] },
);
const publishers = SHOWS.slice(0, 1).map(show);
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
  await viewer.page.screenshot({ path: join(shots, 'screenshot.png') });
  await admin();
  await viewer.close();
  console.log(`wrote screenshot.png and screenshot-admin.png to ${shots}`);
} finally {
  await browser.close();
  await Promise.all(publishers.map(stop));
  await server.close();
  await rm(folder, { recursive: true, force: true });
}

/** The list of all shows, once each has its curve and the doctor has spoken. */
async function admin() {
  publishers.push(...SHOWS.slice(1).map(show));
  const page = await browser.newPage();
  await page.setViewportSize({ width: 1280, height: 620 });
  await page.goto(`${server.admin}/`);
  await page.getByLabel('Admin token').fill(ADMIN_TOKEN);
  await page.keyboard.press('Enter');
  await page.locator('li[data-stream=backstage] .finding:not(:empty)').waitFor({ timeout: 60_000 });
  await page.waitForFunction((count) => document.querySelectorAll('.streams img[src]').length === count, SHOWS.length);
  await page.waitForFunction(() => [...document.querySelectorAll('.spark-line')].every((line) => line.getAttribute('d').split('L').length > 20));
  await page.evaluate(() => document.activeElement.blur());
  await page.screenshot({ path: join(shots, 'screenshot-admin.png') });
}
