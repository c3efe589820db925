// Real time over a link that narrows and recovers: the server chooses each viewer's rung by what the viewer reports.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { browse } from './browser.mjs';
import { relay } from './relay.mjs';
import { publish, serve } from './server.mjs';
import { open } from './viewer.mjs';

let server;
let browser;
let link;
let publisher;

before(async () => {
  server = await serve('--transcode-rungs', '["160p:300k", "120p:150k"]', '--transcode-preset', 'superfast');
  browser = await browse();
  link = await relay();
  publisher = publish(server, 'road');
});

after(async () => {
  await publisher?.kill();
  await browser?.close();
  link?.close();
  await server?.close();
});

/** Waits for pictures of a height that pleases. */
async function height(viewer, pleases) {
  const deadline = Date.now() + 60_000;
  let seen = 0;
  while (!pleases((seen = await viewer.page.evaluate(() => window.headwater.video.videoHeight)))) {
    assert.ok(Date.now() < deadline, `the picture is ${seen} high`);
    await viewer.page.waitForTimeout(100);
  }
}

test('a viewer in real time gets a lighter rung while the link is narrow, and the source when it is wide again', async () => {
  const viewer = await open(browser, `${server.http}/`);
  await viewer.page.route('**/whep/*', async (route) => {
    const response = await route.fetch();
    const body = await response.text();
    await route.fulfill({ response, body: response.status() === 201 ? link.rewrite(body) : body });
  });
  await viewer.page.goto(`${server.http}/watch/road?delay=realtime`);
  await viewer.until('playing');
  await height(viewer, (now) => now === 360);
  link.narrow(750_000);
  await height(viewer, (now) => now < 360);
  await viewer.until('playing');
  assert.equal((await viewer.snapshot()).realtime, true);
  link.narrow(0);
  await height(viewer, (now) => now === 360);
  await viewer.until('playing');
  assert.equal((await viewer.snapshot()).realtime, true);
  await viewer.close();
});

test('a viewer may pin a rung', async () => {
  const viewer = await open(browser, `${server.http}/`);
  await viewer.page.route('**/whep/*', (route) => route.continue({ url: `${route.request().url()}?rung=120p` }));
  await viewer.page.goto(`${server.http}/watch/road?delay=realtime`);
  await height(viewer, (now) => now === 120);
  assert.equal((await viewer.snapshot()).realtime, true);
  await viewer.close();
});
