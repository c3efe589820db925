// A browser as the publisher of the measurement, and the measurement of a browser alone.

import { readFile } from 'node:fs/promises';
import { CELL, COLUMNS, reader, ROWS } from './clock.mjs';
import { WIDTH } from './source.mjs';

/** A page of the server's origin with `window.camera`, see camera.page.mjs. */
async function studio(browser, server) {
  const page = await browser.newPage();
  await page.route('**/glass/**', async (route) => {
    const [name] = new URL(route.request().url()).pathname.split('/').slice(-1);
    if (name === 'studio') return route.fulfill({ contentType: 'text/html', body: '<script type=module src=camera.page.mjs></script>' });
    const body = await readFile(new URL(name, import.meta.url), 'utf8');
    return route.fulfill({ contentType: 'text/javascript', body });
  });
  await page.addInitScript(reader, { width: WIDTH, cell: CELL, columns: COLUMNS, rows: ROWS });
  await page.goto(`${server.http}/glass/studio`);
  await page.waitForFunction(() => window.camera);
  return page;
}

/** Publishes the clock by WHIP. */
export async function publishCamera(browser, server, name) {
  const page = await studio(browser, server);
  await page.evaluate((url) => window.camera.whip(url), `/whip/${name}`);
  return { stop: () => page.close() };
}

/** Frames of `seconds` from a page to itself, after `settle` seconds. */
export async function loopback(browser, server, { seconds, settle }) {
  const page = await studio(browser, server);
  await page.evaluate(() => window.camera.loopback());
  await page.waitForFunction(() => window.glass.frames.length > 0);
  await page.waitForTimeout(settle * 1000);
  await page.evaluate(() => window.glass.frames.splice(0));
  await page.waitForTimeout(seconds * 1000);
  const frames = await page.evaluate(() => window.glass.frames.splice(0));
  await page.close();
  return frames;
}
