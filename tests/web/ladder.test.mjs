// The watch page on a stream with rungs: chosen by hand, kept, given up, and over a link that narrows and recovers.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { browse } from './browser.mjs';
import { link } from './link.mjs';
import { publish, serve } from './server.mjs';
import { open } from './viewer.mjs';

let server;
let browser;
let road;
let publisher;

before(async () => {
  server = await serve('--transcode-rungs', '["160p:400k", "120p:200k"]', '--transcode-preset', 'superfast');
  browser = await browse();
  road = await link(server.http);
  publisher = publish(server, 'road', { size: '426x240' });
});

after(async () => {
  await publisher?.kill();
  await browser?.close();
  await road?.close();
  await server?.close();
});

const height = (snapshot) => snapshot.rungs[snapshot.playing]?.height ?? 0;

/** The name of the rung that plays. */
const plays = (snapshot) => snapshot.rungs[snapshot.playing]?.key;

/** A viewer of a stream whose rungs are all known. */
async function watching(name) {
  const viewer = await open(browser, `${server.http}/watch/${name}`);
  await viewer.until('playing');
  await viewer.when((snapshot) => snapshot.rungs.length === 4, 'all rungs are known');
  return viewer;
}

/** Closes a page on which something was chosen, which the next page would keep to. */
async function leave(viewer) {
  await viewer.page.evaluate(() => localStorage.clear());
  await viewer.close();
}

async function choose(viewer, title) {
  await viewer.page.click('.quality');
  await viewer.page.locator('.qualities [role=menuitemradio]', { has: viewer.page.locator(`span:text-is("${title}")`) }).click();
}

async function heightOfPicture(viewer, height) {
  await viewer.page.waitForFunction((wanted) => window.headwater.video.videoHeight === wanted, height);
  await viewer.moves();
}

test('the menu names every rung, and what is chosen by hand plays at once and without a gap', async () => {
  const viewer = await open(browser, `${server.http}/watch/road`);
  await viewer.until('playing');
  await viewer.when((snapshot) => snapshot.playing >= 0, 'it is known what plays');
  await viewer.page.click('.quality');
  const titles = await viewer.page.locator('.qualities [role=menuitemradio]').allInnerTexts();
  const words = titles.map((title) => title.replace(/\s+/g, ' ').trim());
  assert.equal(words.length, 5, words.join(', '));
  assert.match(words[0], /^Auto \(\d+p\)$/);
  assert.match(words[1], /^240p source, [\d.]+ [kM]bit\/s$/);
  assert.match(words[2], /^160p \d+ kbit\/s$/);
  assert.match(words[3], /^120p \d+ kbit\/s$/);
  assert.match(words[4], /^Sound only \d+ kbit\/s$/);
  await viewer.page.keyboard.press('Escape');
  const before = await viewer.snapshot();
  for (const [title, height] of [['120p', 120], ['240p', 240], ['160p', 160]]) {
    await choose(viewer, title);
    await heightOfPicture(viewer, height);
  }
  const after = await viewer.snapshot();
  assert.equal(after.chosen, '160p');
  assert.equal(after.stalls, before.stalls, 'the picture never stood');
  await choose(viewer, 'Auto');
  await viewer.when((snapshot) => snapshot.chosen === '', 'the player chooses again');
  await viewer.close();
});

test('a rung chosen by hand stays chosen: a new page, and a new show', async () => {
  const show = publish(server, 'keeps', { size: '426x240' });
  const viewer = await watching('keeps');
  await choose(viewer, '120p');
  await heightOfPicture(viewer, 120);
  await viewer.page.reload();
  await viewer.until('playing');
  await heightOfPicture(viewer, 120);
  assert.equal((await viewer.snapshot()).chosen, '120p');
  await show.stop();
  await viewer.until('ended');
  const next = publish(server, 'keeps', { size: '426x240' });
  await viewer.until('playing');
  await heightOfPicture(viewer, 120);
  assert.equal((await viewer.snapshot()).chosen, '120p');
  await next.kill();
  await leave(viewer);
});

test('who only listens fetches no pictures, and comes back to them', async () => {
  const viewer = await watching('road');
  await choose(viewer, 'Sound only');
  await viewer.when((snapshot) => snapshot.pictures === 'none' && snapshot.state === 'playing', 'the sound alone plays');
  await viewer.shows('.poster .title', /Sound only/);
  const fetched = [];
  viewer.page.on('request', (request) => fetched.push(new URL(request.url()).pathname));
  const heard = () => viewer.page.evaluate(() => window.headwater.video.webkitAudioDecodedByteCount);
  const before = await heard();
  await viewer.page.waitForFunction((least) => window.headwater.video.webkitAudioDecodedByteCount > least, before + 20_000);
  assert.deepEqual(fetched.filter((path) => !/\/(aac|audio)[./]/.test(path)), [], 'nothing else is asked for');
  await choose(viewer, '160p');
  await heightOfPicture(viewer, 160);
  await leave(viewer);
});

test('a rung that is there no more gives way to another', async () => {
  const viewer = await watching('road');
  await choose(viewer, '120p');
  await heightOfPicture(viewer, 120);
  await viewer.page.route(/\/120p\./, (route) => route.fulfill({ status: 404, body: 'given up' }));
  await viewer.when((snapshot) => plays(snapshot) !== '120p' && snapshot.state === 'playing', 'another rung plays');
  await viewer.moves();
  await leave(viewer);
});

test('before the first picture stands a still of the stream', async () => {
  // Made of the newest key frame, some seconds after the stream began.
  const there = async () => (await fetch(`${server.http}/live/road/poster.jpg`)).status === 200;
  for (let tries = 0; !(await there()); tries += 1) {
    assert.ok(tries < 100, 'the server has a still');
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  const page = await browser.newPage();
  // As over a link on which the first playlist never comes.
  await page.route('**/index.m3u8', () => {});
  await page.goto(`${server.http}/watch/road?delay=low`);
  const still = page.locator('.poster img.still');
  await still.waitFor({ state: 'visible' });
  assert.equal(await still.evaluate((image) => image.naturalWidth > 0 && image.complete), true);
  await page.close();
});

test('a link that narrows is answered by a lighter rung, and one that recovers by a heavier one', async (t) => {
  const viewer = await open(browser, `${road.http}/watch/road`);
  await viewer.until('playing');
  await viewer.when((snapshot) => snapshot.rungs.length === 4, 'all rungs are known');
  await viewer.when((snapshot) => height(snapshot) === 240, 'the source plays');
  const before = await viewer.snapshot();
  // Three quarters of what the source takes with its sound, and well over what the smaller rung takes.
  road.narrow(850_000);
  await viewer.when((snapshot) => height(snapshot) < 240, 'a lighter rung plays');
  await viewer.moves();
  const narrow = await viewer.snapshot();
  const stood = narrow.stallSeconds - before.stallSeconds;
  t.diagnostic(`stood still for ${stood.toFixed(2)} s`);
  assert.ok(stood < 1, `the picture stood still for ${stood} s`);
  const lighter = height(narrow);
  road.narrow(0);
  await viewer.when((snapshot) => height(snapshot) > lighter, 'a heavier rung plays again');
  await viewer.moves();
  await viewer.close();
});
