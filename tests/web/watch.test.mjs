// The watch page in Chromium against the server: what a viewer lives through from off air to the end of the show.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { browse } from './browser.mjs';
import { publish, serve } from './server.mjs';
import { open } from './viewer.mjs';

let server;
let browser;
const publishers = new Set();

before(async () => {
  server = await serve();
  browser = await browse();
});

after(async () => {
  for (const publisher of publishers) await publisher.kill();
  await browser?.close();
  await server?.close();
});

function onAir(name) {
  const publisher = publish(server, name);
  publishers.add(publisher);
  return publisher;
}

/** A page that plays a stream of its own; both end with the test. */
async function playing(t, name) {
  const publisher = onAir(name);
  const viewer = await open(browser, `${server.http}/watch/${name}`);
  t.after(() => publisher.kill());
  await viewer.until('playing');
  return viewer;
}

test('off air it waits, starts by itself, survives a broken cable, and waits again after the end', async () => {
  const viewer = await open(browser, `${server.http}/watch/cable`);
  const { page } = viewer;
  await viewer.until('waiting');
  await viewer.shows('.poster', /cable\s*Off air/);
  await page.waitForFunction(() => document.title === 'cable · Headwater');
  await page.evaluate(() => {
    window.sameDocument = true;
  });

  const first = onAir('cable');
  await viewer.until('playing');
  await page.waitForSelector('.poster', { state: 'hidden' });
  await viewer.moves();
  const { latency } = await viewer.snapshot();
  assert.ok(latency > 0.2 && latency < 4, `latency ${latency}`);
  await viewer.shows('.delay', /^\d+\.\d s$/);

  await first.kill();
  await viewer.until('reconnecting');
  await viewer.shows('.note', /goes on by itself/);
  const second = onAir('cable');
  await viewer.until('playing');
  await viewer.moves();
  await viewer.when((s) => s.latency !== null && s.latency < s.target + 1, 'it is back at the edge');

  await second.stop();
  await viewer.until('ended');
  await viewer.shows('.poster', /has ended/);
  onAir('cable');
  await viewer.until('playing');
  await viewer.moves();
  assert.equal(await page.evaluate(() => window.sameDocument), true, 'the page was loaded again');
  await viewer.close();
});

test('comes to rest at the distance the playlist asks for', async (t) => {
  const viewer = await playing(t, 'edge');
  await viewer.when((s) => s.rate === 1 && Math.abs(s.latency - s.target) < 0.15, 'latency meets its target');
  const { window: span, target } = await viewer.snapshot();
  assert.ok(target >= span.holdBack && span.holdBack >= 3 * span.part - 1e-9, JSON.stringify({ span, target }));
  await viewer.close();
});

test('the keyboard does it all', async (t) => {
  const viewer = await playing(t, 'keys');
  const { page } = viewer;
  const video = (property) => page.evaluate((name) => window.headwater.video[name], property);

  assert.equal(await video('muted'), true);
  await page.waitForSelector('.unmute', { state: 'visible' });
  await page.keyboard.press('m');
  assert.equal(await video('muted'), false);
  await page.waitForSelector('.unmute', { state: 'hidden' });
  await page.keyboard.press('ArrowDown');
  assert.ok(Math.abs((await video('volume')) - 0.9) < 1e-6);

  await page.keyboard.press('i');
  await page.waitForSelector('.stats', { state: 'visible' });
  await viewer.shows('.stats', /hls\.js/);
  for (const fact of [/Latency\d\.\d\d s/, /640×360/, /avc1\./, /HTTP/, /Stalls\d/, /Rate[01]\.\d\d×/]) await viewer.shows('.stats', fact);
  await page.keyboard.press('i');
  await page.waitForSelector('.stats', { state: 'hidden' });

  await page.keyboard.press('?');
  await page.waitForSelector('.keys', { state: 'visible' });
  await page.keyboard.press('Escape');
  await page.waitForSelector('.keys', { state: 'hidden' });

  await page.keyboard.press('f');
  await page.waitForFunction(() => document.fullscreenElement !== null);
  await page.keyboard.press('f');
  await page.waitForFunction(() => document.fullscreenElement === null);

  await page.keyboard.press('k');
  await viewer.until('paused');
  await page.keyboard.press('k');
  await viewer.until('playing');
  await viewer.close();
});

test('who pauses stays where they were, until they go live', async (t) => {
  const viewer = await playing(t, 'pause');
  const { page } = viewer;
  await page.hover('.player');
  await page.click('[aria-label="Pause"]');
  await viewer.until('paused');
  await viewer.when((s) => s.latency > s.target + 3, 'the edge has moved on');
  await page.click('.controls [aria-label="Play"]');
  await viewer.until('playing');
  const behind = await viewer.snapshot();
  assert.equal(behind.following, false);
  assert.equal(behind.rate, 1);
  await viewer.shows('.live', /^Go live$/);
  await page.click('.live');
  await viewer.when((s) => s.following && s.latency < s.target + 1, 'it is live');
  await viewer.shows('.live', /^Live$/);
  await viewer.close();
});

test('goes back in the window and on again', async (t) => {
  const viewer = await playing(t, 'window');
  const { page } = viewer;
  await viewer.when((s) => s.window.edge - s.window.start > 9, 'there is a window');
  await page.keyboard.press('ArrowLeft');
  await viewer.when((s) => !s.following && s.latency > 4.5 && s.state === 'playing', 'it plays from five seconds ago');
  await page.waitForFunction(() => /^\d+ seconds behind live$/.test(document.querySelector('.seekbar input').ariaValueText));
  await page.keyboard.press('l');
  await viewer.when((s) => s.following && s.latency < s.target + 1, 'it is live');
  await page.waitForFunction(() => document.querySelector('.seekbar input').ariaValueText === 'Live');
  await viewer.close();
});

test('says plainly that the viewer lost the server, and comes back', async (t) => {
  const viewer = await playing(t, 'offline');
  await browser.context.setOffline(true);
  t.after(() => browser.context.setOffline(false));
  await viewer.when((s) => s.state === 'reconnecting' && !s.reachable, 'the loss is noticed');
  await viewer.shows('.note', /Your connection to the server was lost/);
  await browser.context.setOffline(false);
  await viewer.until('playing');
  await viewer.when((s) => s.latency < s.target + 1, 'it is back at the edge');
  await viewer.close();
});

test('the quality menu has what there is: one rung and its sound, or several', async (t) => {
  const viewer = await playing(t, 'rungs');
  const { page } = viewer;
  const names = async () => {
    await page.click('.quality');
    await page.waitForSelector('.qualities', { state: 'visible' });
    const all = await page.locator('.qualities [role=menuitemradio] span').allTextContents();
    return all.map((name) => name.replace(/ \(.*/, ''));
  };
  await viewer.when((s) => s.playing >= 0, 'it is known what plays');
  assert.deepEqual(await names(), ['Auto', '360p', 'Sound only']);
  // The same pictures under a second name are enough for a menu.
  await page.route('**/live/rungs/index.m3u8', async (route) => {
    const response = await route.fetch();
    const text = await response.text();
    const rung = /#EXT-X-STREAM-INF:.*\n.*\n?/.exec(text)[0];
    const lower = rung.replace(/RESOLUTION=\d+x\d+/, 'RESOLUTION=320x180').replace(/BANDWIDTH=\d+/g, 'BANDWIDTH=300000').replace(/\.m3u8\??/, '.m3u8?rung=2&');
    await route.fulfill({ response, body: `${text.trimEnd()}\n${lower}` });
  });
  await page.reload();
  await viewer.until('playing');
  await viewer.when((s) => s.playing >= 0, 'it is known what plays');
  assert.deepEqual(await names(), ['Auto', '360p', '180p', 'Sound only']);
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.qualities', { state: 'hidden' });
  await viewer.when((s) => s.chosen === 'source', 'the rung is chosen');
  await viewer.close();
});

test('an ended show can be watched again', async (t) => {
  const first = await playing(t, 'again');
  await first.when((s) => s.window.edge - s.window.start > 5, 'there is something to see again');
  for (const publisher of publishers) await publisher.stop();
  await first.until('ended');
  await first.close();
  const viewer = await open(browser, `${server.http}/watch/again`);
  await viewer.until('ended');
  await viewer.page.click('.poster button');
  await viewer.until('playing');
  const { window: span, latency } = await viewer.snapshot();
  assert.deepEqual([span.live, latency], [false, null]);
  await viewer.moves();
  await viewer.until('ended');
  await viewer.close();
});

test('plays by the HLS of the browser where media source extensions are missing', async (t) => {
  const publisher = onAir('native');
  t.after(() => publisher.kill());
  const viewer = await open(browser, 'about:blank');
  await viewer.page.addInitScript(() => {
    for (const name of ['MediaSource', 'ManagedMediaSource', 'WebKitMediaSource', 'SourceBuffer']) delete window[name];
  });
  await viewer.page.goto(`${server.http}/watch/native?delay=low`);
  await viewer.when((seen) => seen.state === 'playing' && /built into the browser/.test(seen.protocol), 'it plays natively');
  await viewer.moves();
  await viewer.close();
});

/** Opens the watch page of a stream whose codecs that match are a codec of nobody's to the browser. */
async function undecodable(name, codecs) {
  const viewer = await open(browser, 'about:blank');
  await viewer.page.route(`**/live/${name}/index.m3u8`, async (route) => {
    const response = await route.fetch();
    const text = await response.text();
    await route.fulfill({ response, body: text.replace(codecs, 'zzzz.1.2.3') });
  });
  await viewer.page.goto(`${server.http}/watch/${name}?delay=low`);
  return viewer;
}

test('plays the sound alone where the pictures cannot be decoded, and says so', async (t) => {
  const publisher = onAir('sound');
  t.after(() => publisher.kill());
  const viewer = await undecodable('sound', /avc1\.[0-9a-fA-F]+/g);
  await viewer.until('playing');
  const { position } = await viewer.snapshot();
  await viewer.when((seen) => seen.position > position + 1, 'the sound goes on');
  await viewer.shows('.poster', /Sound only.*cannot decode the pictures/s);
  await viewer.close();
});

test('says so when the browser has no decoder, and does not flicker', async (t) => {
  const publisher = onAir('codec');
  t.after(() => publisher.kill());
  const viewer = await undecodable('codec', /(avc1|mp4a)\.[0-9a-fA-F.]+/g);
  const { page } = viewer;
  await viewer.until('unplayable');
  await viewer.shows('.poster', /cannot play the stream/);
  await page.waitForResponse((response) => /\.m3u8$/.test(response.url()));
  assert.equal((await viewer.snapshot()).state, 'unplayable');
  await viewer.close();
});

test('a screen reader finds names, roles and a voice', async (t) => {
  const viewer = await playing(t, 'voice');
  const { page } = viewer;
  await page.waitForFunction(() => document.querySelector('[role=status]').textContent === 'Playing.');
  const nameless = await page.evaluate(() =>
    [...document.querySelectorAll('button, input, a, video')]
      .filter((e) => !(e.getAttribute('aria-label') ?? e.textContent).trim() && !e.labels?.length)
      .map((e) => e.outerHTML),
  );
  assert.deepEqual(nameless, []);
  assert.equal(await page.evaluate(() => document.documentElement.lang), 'en');
  await page.keyboard.press('Tab');
  const outlined = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.notEqual(outlined, 'none');
  await viewer.close();
});

test('the controls go when nothing moves, and come back', async (t) => {
  const viewer = await playing(t, 'idle');
  const { page } = viewer;
  await page.hover('.player video', { position: { x: 300, y: 200 } });
  await page.waitForSelector('.player.idle');
  await page.mouse.move(400, 300);
  await page.waitForSelector('.player:not(.idle)');
  await viewer.close();
});
