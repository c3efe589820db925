// The watch page on a stream with rungs, over a link that narrows and recovers.

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

test('a link that narrows is answered by a lighter rung, and one that recovers by a heavier one', async () => {
  const viewer = await open(browser, `${road.http}/watch/road`);
  await viewer.until('playing');
  await viewer.when((snapshot) => snapshot.rungs.length === 3, 'all rungs are known');
  await viewer.when((snapshot) => height(snapshot) === 240, 'the source plays');
  const before = await viewer.snapshot();
  // Less than the source takes, and twice what the smaller rung takes.
  road.narrow(700_000);
  await viewer.when((snapshot) => height(snapshot) < 240, 'a lighter rung plays');
  await viewer.moves();
  const narrow = await viewer.snapshot();
  const stood = narrow.stallSeconds - before.stallSeconds;
  assert.ok(stood < 2, `the picture stood still for ${stood} s`);
  const lighter = height(narrow);
  road.narrow(0);
  await viewer.when((snapshot) => height(snapshot) > lighter, 'a heavier rung plays again');
  await viewer.moves();
  await viewer.close();
});
