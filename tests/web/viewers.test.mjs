// Who may watch, and who does: pages under a signed link, and how many players are counted.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { browse } from './browser.mjs';
import { publish, serve } from './server.mjs';
import { open } from './viewer.mjs';

let server;
let browser;
let publishers;
let key;

before(async () => {
  server = await serve('--access-private', '["members"]');
  publishers = ['show', 'members'].map((name) => publish(server, name));
  browser = await browse();
  const secret = await readFile(join(server.data, 'play-secret'));
  key = createHmac('sha256', secret).update('play links').digest();
});

after(async () => {
  await browser?.close();
  for (const publisher of publishers ?? []) await publisher.kill();
  await server?.close();
});

/** A signed prefix that opens some streams for so many seconds. */
function link(streams, seconds) {
  const claims = Buffer.from(JSON.stringify({ s: streams, e: Math.floor(Date.now() / 1000) + seconds })).toString('base64url');
  return `${server.http}/s/${claims}.${createHmac('sha256', key).update(claims).digest('base64url')}`;
}

/** Waits until so many players are counted. */
async function counted(protocol, wanted) {
  const deadline = Date.now() + 40_000;
  let count = -1;
  while (count !== wanted) {
    assert.ok(Date.now() < deadline, `${count} viewers over ${protocol}, not ${wanted}`);
    const text = await (await fetch(`${server.admin}/metrics`)).text();
    count = Number(new RegExp(`^headwater_viewers\\{protocol="${protocol}"\\} (\\d+)`, 'm').exec(text)?.[1] ?? 0);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

test('three players are three viewers, and none when they have left', async () => {
  const viewers = [];
  for (let n = 0; n < 3; n += 1) viewers.push(await open(browser, `${server.http}/watch/show`));
  for (const viewer of viewers) await viewer.until('playing');
  await counted('hls', 3);
  await viewers[0].moves();
  await counted('hls', 3);
  for (const viewer of viewers) await viewer.close();
  await counted('hls', 0);
});

test('a watch page under a signed link plays, by HLS and in real time', async () => {
  const base = link('members', 600);
  const viewer = await open(browser, `${base}/watch/members`);
  await viewer.until('playing');
  await viewer.moves();
  await counted('hls', 1);
  const asked = await viewer.page.evaluate(() => performance.getEntriesByType('resource').map((entry) => new URL(entry.name).pathname));
  const streams = asked.filter((path) => path.includes('/live/'));
  assert.ok(streams.length > 3 && streams.every((path) => path.startsWith(new URL(base).pathname)), streams.join('\n'));
  await viewer.close();
  const close = await open(browser, `${base}/embed/members`, 'realtime');
  await close.when((seen) => seen.state === 'playing' && seen.realtime, 'it plays in real time');
  await counted('whep', 1);
  await close.close();
  await counted('whep', 0);
});

test('a page says why it does not play: no link, and one that has expired', async () => {
  const bare = await open(browser, `${server.http}/watch/members`);
  await bare.until('refused');
  await bare.shows('.poster', /cannot watch this here.*This stream is private: ask whoever runs it for a link/s);
  await bare.close();
  const late = await open(browser, `${link('members', -1)}/watch/members`);
  await late.until('refused');
  await late.shows('.poster', /This link has expired/);
  await late.shows('#badge', /Not open/);
  await late.close();
});

test('a link that expires ends what it opened', async () => {
  for (const delay of ['low', 'realtime']) {
    const viewer = await open(browser, `${link('members', 8)}/watch/members`, delay);
    await viewer.until('playing');
    await viewer.until('refused');
    await viewer.shows('.poster', /This link has expired/);
    await viewer.close();
  }
});
