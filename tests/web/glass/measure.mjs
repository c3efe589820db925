// Glass to glass: from the moment a frame is drawn at the publisher to the moment Chromium shows it on the watch page.
//
//   --seconds N    how long to measure (default 60)
//   --settle N     seconds after the first picture that do not count (default 10)
//   --delay D      low (default), realtime or safe: what the viewer asks the player for
//   --publisher P  rtmp (ffmpeg, default) or whip (a second page)
//   --loopback     first from a page to itself, without a server, for comparison
//   --loss N       percent of datagrams lost each way between the viewer and the server (real time alone)
//   --rtt N        milliseconds added to their round trip
//   --throttle     then starve the viewer for a minute, and time the way back to the live edge
//   --json         the numbers as JSON alone
//
// HEADWATER, HEADWATER_HTTP and HEADWATER_RTMP as in server.mjs. Exits 1 if a goal is missed.

import { parseArgs } from 'node:util';
import { loadavg } from 'node:os';
import { browse } from '../browser.mjs';
import { relay } from '../relay.mjs';
import { address, serve } from '../server.mjs';
import { loopback, publishCamera } from './camera.mjs';
import { CELL, COLUMNS, reader, ROWS } from './clock.mjs';
import { BITRATE, publishClock, WIDTH } from './source.mjs';
import { backWithin, percentile, sums } from './sums.mjs';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    settle: { type: 'string', default: '10' },
    delay: { type: 'string', default: 'low' },
    publisher: { type: 'string', default: 'rtmp' },
    loopback: { type: 'boolean', default: false },
    loss: { type: 'string', default: '0' },
    rtt: { type: 'string', default: '0' },
    throttle: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const NAME = 'glass';
const DELAY = values.delay;
const RATE = 30;
const GOALS = { p50: 1000, p95: 1300, stalls: 0, back: 30, join: 1000 };

const closers = [];
try {
  const report = await run();
  console.log(values.json ? JSON.stringify(report, null, 2) : table(report));
  process.exitCode = report.missed.length > 0 ? 1 : 0;
} finally {
  for (const close of closers.reverse()) await close();
}

async function run() {
  const server = await serve();
  closers.push(server.close);
  const browser = await browse({ viewport: { width: 1000, height: 760 } });
  closers.push(browser.close);
  const alone = values.loopback
    ? sums(await loopback(browser, server, { seconds: Number(values.seconds), settle: Number(values.settle) }), RATE)
    : null;
  const clock = values.publisher === 'whip' ? await publishCamera(browser, server, NAME) : publishClock(address(server, NAME));
  closers.push(clock.stop);
  await onAir(`${server.http}/live/${NAME}/index.m3u8`);
  const page = await browser.newPage();
  await throughLink(page);
  // The viewer's browser runs already, and has been on this server before.
  await page.goto(`${server.http}/`);
  await page.addInitScript(reader, { width: WIDTH, cell: CELL, columns: COLUMNS, rows: ROWS });
  await page.goto(`${server.http}/watch/${NAME}?delay=${DELAY}`);
  await page.waitForFunction(() => window.glass.frames.length > 0, null, { timeout: 30_000 });
  const join = Math.round(await page.evaluate(() => window.glass.first));
  await page.waitForTimeout(Number(values.settle) * 1000);

  const before = await numbers(page);
  await page.evaluate(() => window.glass.frames.splice(0));
  const skews = [];
  for (let second = 0; second < Number(values.seconds); second++) {
    await page.waitForTimeout(1000);
    const skew = await page.evaluate(skewNow);
    if (skew !== null) skews.push(skew);
  }
  const frames = await page.evaluate(() => window.glass.frames.splice(0));
  const after = await numbers(page);
  const steady = {
    ...sums(frames, RATE),
    stalls: after.stalls - before.stalls,
    stallSeconds: after.stallSeconds - before.stallSeconds,
    said: after.latency,
    skew: skews.length > 0 ? { p50: percentile(skews.sort((a, b) => a - b), 0.5), max: skews.at(-1) } : null,
  };
  const throttled = values.throttle ? await throttle(page, steady.p50) : null;
  const report = { seconds: Number(values.seconds), load: loadavg()[0], join, alone, steady, throttled };
  return { ...report, missed: missed(report) };
}

/** A minute at half of what the stream costs; then as fast as before. */
async function throttle(page, usual) {
  const session = await page.context().newCDPSession(page);
  const limit = (bytes) =>
    session.send('Network.emulateNetworkConditions', { offline: false, latency: 0, downloadThroughput: bytes, uploadThroughput: -1 });
  await session.send('Network.enable');
  const before = await numbers(page);
  await limit(BITRATE / 8 / 2);
  await page.waitForTimeout(60_000);
  const during = await numbers(page);
  await limit(-1);
  const since = Date.now();
  await page.waitForTimeout(45_000);
  const frames = await page.evaluate(() => window.glass.frames.splice(0));
  const after = await numbers(page);
  return {
    stalls: during.stalls - before.stalls,
    stallSeconds: during.stallSeconds - before.stallSeconds,
    // A starved minute may teach the player some distance: within a second of where it was counts as back.
    back: backWithin(frames, since, usual + 1000),
    targetAfter: after.target,
    ...sums(frames.filter(([at]) => at > since + 30_000), RATE),
  };
}

/** The page's media takes the way over a link that loses and delays. */
async function throughLink(page) {
  await page.addInitScript(() => {
    const Plain = RTCPeerConnection;
    window.RTCPeerConnection = class extends Plain {
      constructor(...given) {
        super(...given);
        window.pc = this;
      }
    };
  });
  const [loss, rtt] = [Number(values.loss) / 100, Number(values.rtt)];
  if (loss === 0 && rtt === 0) return;
  const link = await relay({ loss, rtt });
  closers.push(link.close);
  await page.route('**/whep/*', async (route) => {
    const response = await route.fetch();
    const body = await response.text();
    await route.fulfill({ response, body: response.status() === 201 ? link.rewrite(body) : body });
  });
}

/** In the page: how far pictures and sound that are shown now are apart, in ms, as the browser says; null without both. */
async function skewNow() {
  const stats = [...((await window.pc?.getStats()) ?? new Map()).values()];
  const shown = (kind) => stats.find((entry) => entry.type === 'inbound-rtp' && entry.kind === kind)?.estimatedPlayoutTimestamp;
  const [video, audio] = [shown('video'), shown('audio')];
  return video && audio ? Math.abs(video - audio) : null;
}

function numbers(page) {
  return page.evaluate(() => {
    const { stalls, stallSeconds, latency, target } = window.headwater.snapshot;
    return { stalls, stallSeconds, latency, target };
  });
}

async function onAir(url) {
  for (let tries = 0; tries < 100; tries++) {
    const response = await fetch(url).catch(() => null);
    if (response?.ok) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`${url} does not go on air`);
}

function missed({ join, steady, throttled }) {
  const missed = [];
  const goal = (name, value, limit) => {
    if (value === null || value > limit) missed.push(`${name}: ${value} (goal ${limit})`);
  };
  goal('join, ms', join, GOALS.join);
  goal('p50, ms', steady.p50, GOALS.p50);
  goal('p95, ms', steady.p95, GOALS.p95);
  goal('stalls', steady.stalls, GOALS.stalls);
  if (throttled) goal('back at the edge, s', throttled.back, GOALS.back);
  return missed;
}

function table({ seconds, load, join, alone, steady, throttled, missed }) {
  const ms = (value) => (value === null ? 'none' : `${Math.round(value)} ms`);
  const rows = [
    ['join to first picture', ms(join)],
    ['glass to glass p50 / p95 / p99 / max', [steady.p50, steady.p95, steady.p99, steady.max].map(ms).join(' / ')],
    ['frames, unreadable', `${steady.frames}, ${steady.unreadable}`],
    ...(alone ? [['from a page to itself p50 / p95 / p99 / max', [alone.p50, alone.p95, alone.p99, alone.max].map(ms).join(' / ')]] : []),
    ...(steady.skew ? [['pictures and sound apart p50 / max', [steady.skew.p50, steady.skew.max].map(ms).join(' / ')]] : []),
    ['longest freeze', ms(steady.longest)],
    ['fps', steady.fps.toFixed(1)],
    ['freezes', `${steady.freezes} (${steady.freezeSeconds.toFixed(1)} s)`],
    ['stalls', `${steady.stalls} (${steady.stallSeconds.toFixed(1)} s)`],
    ['latency as the player says', `${Math.round((steady.said ?? 0) * 1000)} ms`],
  ];
  if (throttled) {
    rows.push(['stalls in the starved minute', `${throttled.stalls} (${throttled.stallSeconds.toFixed(1)} s)`]);
    rows.push(['back at the live edge after', throttled.back === null ? 'never' : `${throttled.back.toFixed(1)} s`]);
    rows.push(['glass to glass then p50 / p95', [throttled.p50, throttled.p95].map(ms).join(' / ')]);
  }
  const wide = Math.max(...rows.map(([name]) => name.length));
  const head = `${seconds} s in Chromium, load ${load.toFixed(1)}`;
  const lines = [head, ...rows.map(([name, value]) => `  ${name.padEnd(wide)}  ${value}`)];
  lines.push(missed.length > 0 ? `missed: ${missed.join('; ')}` : 'all goals met');
  return lines.join('\n');
}
