// The embed page in a foreign frame, and the home page.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { browse } from './browser.mjs';
import { publish, serve } from './server.mjs';
import { open } from './viewer.mjs';

let server;
let browser;
let publisher;
let site;

before(async () => {
  server = await serve();
  publisher = publish(server, 'show');
  browser = await browse();
  // A site of somebody else's, with our frame in it.
  const page = `<!doctype html><title>Elsewhere</title><script>
    window.heard = [];
    addEventListener('message', (event) => heard.push({ origin: event.origin, ...event.data }));
  </script><iframe src="${server.http}/embed/show?delay=low" width="640" height="360" allow="autoplay"></iframe>`;
  site = createServer((_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end(page));
  await new Promise((resolve) => site.listen(0, '127.0.0.1', resolve));
});

after(async () => {
  await browser?.close();
  await publisher?.kill();
  await server?.close();
  site?.closeAllConnections();
  site?.close();
});

test('an embed plays in a foreign frame and tells it how it goes', async () => {
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${site.address().port}/`);
  await page.waitForFunction(() => heard.some((m) => m.type === 'state' && m.state === 'playing'), null, { timeout: 40_000 });
  await page.waitForFunction(() => heard.some((m) => m.type === 'latency'), null, { timeout: 40_000 });
  const heard = await page.evaluate(() => window.heard);
  assert.ok(heard.every((m) => m.source === 'headwater' && m.name === 'show' && m.origin === server.http), JSON.stringify(heard));
  assert.ok(heard.find((m) => m.type === 'latency').latency > 0);
  await page.close();
});

test('an embed obeys its address: no controls, not muted, not started', async () => {
  const viewer = await open(browser, `${server.http}/embed/show?controls=0&muted=0&autoplay=0`);
  const { page } = viewer;
  await viewer.until('paused');
  assert.equal(await page.locator('.controls').count(), 0);
  assert.equal(await page.evaluate(() => window.headwater.video.muted), false);
  await page.click('.big-play');
  await viewer.until('playing');
  await viewer.moves();
  await viewer.close();
});

test('the home page leads to a stream and says how to make one', async () => {
  const viewer = await open(browser, `${server.http}/`);
  const { page } = viewer;
  await page.fill('#stream', 'show');
  const text = await page.textContent('main');
  assert.match(text, /rtmp:\/\/127\.0\.0\.1:1935\/live/);
  assert.match(text, new RegExp(`${server.http}/live/show/index\\.m3u8`));
  await page.click('#open button');
  await page.waitForURL(`${server.http}/watch/show`);
  await viewer.until('playing');
  await viewer.close();
});

test('a name that is no stream is off the air, not an error', async () => {
  const viewer = await open(browser, `${server.http}/watch/nobody`);
  await viewer.until('waiting');
  await viewer.close();
});
