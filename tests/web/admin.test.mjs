// The admin page in a browser: login, every page in both colour schemes and three widths, every button.
// Screenshots stay in target/screenshots/admin.

import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { browse } from './browser.mjs';
import { ADMIN_TOKEN, administer, publish, serve } from './server.mjs';

const SHOTS = fileURLToPath(new URL('../../target/screenshots/admin', import.meta.url));
const AXE = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const WIDTHS = [1440, 768, 390];
const PAGES = ['streams', 'streams/show', 'sessions', 'keys', 'server', 'events', 'settings', 'audit'];

let server, browser, page, publisher;

before(async () => {
  await mkdir(SHOTS, { recursive: true });
  server = await serve('--transcode-rungs', '["180p:300k"]', '--transcode-mode', 'rung', '--hub-reconnect-window', '60s');
  browser = await browse();
  page = await browser.newPage();
  publisher = publish(server, 'show');
  await page.goto(`${server.admin}/`);
});

after(async () => {
  await publisher?.stop();
  await browser?.close();
  await server?.close();
});

/** Goes to a page of the admin page and waits until it is there. */
async function go(hash) {
  await page.evaluate((hash) => { location.hash = `#/${hash}`; }, hash);
  await page.waitForFunction(() => document.querySelector('main h1') !== null);
}

/** What axe finds that keeps people out. */
async function barriers() {
  await page.evaluate(`${AXE}; void 0`);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html.slice(0, 160)).join(' | ')}`);
}

async function answer(button) {
  await page.locator('dialog button', { hasText: button }).click();
}

const said = (text) => page.locator('#said p', { hasText: text }).first().waitFor();

test('the page lets nobody in without the token', async () => {
  await page.getByLabel('Admin token').fill('certainly-not-the-token');
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('alert').filter({ hasText: 'not the admin token' }).waitFor();
  await page.screenshot({ path: join(SHOTS, 'login.png') });
  assert.deepEqual(await barriers(), []);
  await page.getByLabel('Admin token').fill(ADMIN_TOKEN);
  await page.keyboard.press('Enter');
  await page.locator('.streams li').waitFor();
});

test('a stream shows in the list with its picture and its numbers, as they change', async () => {
  const row = page.locator('.streams li[data-stream=show]');
  await row.locator('.chip[data-state=live]').waitFor();
  await row.locator('img[src]').waitFor();
  await page.waitForFunction(() => /\d+(\.\d)? [kM]bit\/s/.test(document.querySelector('.rate b').textContent) && !document.querySelector('.rate b').textContent.startsWith('0'));
  await page.getByLabel('Filter by name').fill('nothing like it');
  await page.waitForFunction(() => document.querySelectorAll('.streams li').length === 0);
  await page.getByLabel('Filter by name').fill('');
  await row.waitFor();
});

test('every page is for everybody, at every width, by day and by night', async () => {
  await go('streams/show');
  await page.locator('td', { hasText: '180p' }).first().waitFor();
  for (const colorScheme of ['dark', 'light']) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    for (const hash of PAGES) {
      await go(hash);
      for (const width of WIDTHS) {
        await page.setViewportSize({ width, height: 900 });
        const beyond = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.ok(beyond <= 0, `${hash} at ${width}: ${beyond} pixels beyond the screen`);
        await page.screenshot({ path: join(SHOTS, `${hash.replace('/', '-')}-${width}-${colorScheme}.png`), fullPage: true });
      }
      assert.deepEqual(await barriers(), [], `${hash}, ${colorScheme}`);
    }
  }
  await page.emulateMedia({ colorScheme: 'dark', reducedMotion: null });
  await page.setViewportSize({ width: 1440, height: 900 });
});

test('a key is made, its secret shown once, then rotated and revoked', async () => {
  await go('keys');
  await page.getByLabel('Label').fill('Ann');
  await page.locator('#key-stream').fill('ann');
  await page.getByRole('button', { name: 'Make a key' }).click();
  const secret = await page.locator('dialog code').first().textContent();
  assert.match(secret, /^[0-9a-z]{20,}$/);
  assert.ok((await page.locator('dialog').textContent()).includes(`ann?key=${secret}`));
  await page.screenshot({ path: join(SHOTS, 'key-made.png') });
  assert.deepEqual(await barriers(), []);
  await answer('Done');
  const row = page.locator('tr', { hasText: 'Ann' });
  await row.waitFor();
  await row.getByRole('button', { name: 'Rotate' }).click();
  await answer('Rotate');
  assert.notEqual(await page.locator('dialog code').first().textContent(), secret);
  await answer('Done');
  await row.getByRole('button', { name: 'Revoke' }).click();
  await answer('Revoke');
  await page.locator('main', { hasText: 'There are no keys' }).waitFor();
  assert.equal((await administer(server, '/api/v1/keys')).keys.length, 0);
});

test('the key of a stream is rotated where the stream is, and its publisher goes', async () => {
  const post = (path, body) => fetch(`${server.admin}/api/v1${path}`, { method: 'POST', headers: { Authorization: `Bearer ${ADMIN_TOKEN}`, 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
  const { id, secret } = await (await post('/keys', { stream: 'keyed', label: 'Bob' })).json();
  const keyed = publish(server, `keyed?key=${secret}`);
  await go('streams');
  await page.locator('.streams li[data-stream=keyed] .chip[data-state=live]').waitFor();
  await go('streams/keyed');
  await page.locator('header .chip[data-state=live]').waitFor();
  await page.getByRole('button', { name: 'Rotate key' }).click();
  await answer('Rotate');
  assert.notEqual(await page.locator('dialog code').first().textContent(), secret);
  await answer('Done');
  await page.locator('header .chip[data-state=waiting]').waitFor();
  await keyed.stop();
  await page.getByRole('button', { name: 'End stream' }).click();
  await answer('End');
  await said('The stream is over');
  await fetch(`${server.admin}/api/v1/keys/${id}`, { method: 'DELETE', headers: { Authorization: `Bearer ${ADMIN_TOKEN}` } });
});

test('a link for viewers is made', async () => {
  await go('keys');
  await page.locator('#link-stream').fill('show');
  await page.getByRole('button', { name: 'Make a link' }).click();
  const link = await page.locator('code', { hasText: '/watch/show' }).textContent();
  const response = await fetch(link.replace('/watch/show', '/live/show/index.m3u8'));
  assert.equal(response.status, 200, link);
});

test('a rung is held on and left to its viewers again', async () => {
  await go('streams/show');
  const row = page.locator('tr', { hasText: '180p' }).first();
  await row.getByRole('combobox').selectOption('start');
  await row.locator('.chip[data-state=live]').waitFor();
  await row.getByRole('combobox').selectOption('stop');
  await row.locator('.chip[data-state=shed]').waitFor();
  await row.getByRole('combobox').selectOption('auto');
  await row.locator('.chip[data-state=cold]').waitFor();
});

test('the preview plays, and a mark stands among the events', async () => {
  await go('streams/show');
  await page.getByRole('button', { name: 'Preview' }).click();
  const frame = await page.locator('iframe').elementHandle().then((handle) => handle.contentFrame());
  await frame.waitForFunction(() => (document.querySelector('video')?.currentTime ?? 0) > 0.5, null, { timeout: 30_000 });
  await page.screenshot({ path: join(SHOTS, 'preview.png') });
  await page.getByRole('button', { name: 'Mark' }).click();
  await page.getByLabel('What happens now?').fill('the goal');
  await page.locator('dialog').getByRole('button', { name: 'Mark' }).click();
  await page.locator('.timeline li', { hasText: 'the goal' }).first().waitFor();
});

test('a viewer is listed and sent away', async () => {
  const viewer = await browser.newPage();
  await viewer.goto(`${server.http}/watch/show?delay=low`);
  await viewer.waitForFunction(() => (document.querySelector('video')?.currentTime ?? 0) > 0.5, null, { timeout: 30_000 });
  await go('sessions');
  const row = page.locator('tr', { hasText: 'viewer, HLS' }).first();
  await row.waitFor();
  await page.screenshot({ path: join(SHOTS, 'sessions.png') });
  await row.getByRole('button', { name: 'End' }).click();
  await answer('End');
  await said('The session was ended');
  await viewer.close();
});

test('a setting is refused with its reason, tried, made, and taken back', async () => {
  await go('settings');
  await page.getByLabel('Filter by name').fill('hub.media_idle');
  const change = async (value) => {
    await page.getByRole('button', { name: 'Change hub.media_idle' }).click();
    await page.getByLabel('Value').fill(value);
    await page.keyboard.press('Enter');
  };
  await change('soon');
  await said('hub.media_idle');
  await change('7s');
  await page.locator('dialog', { hasText: 'from 5s to 7s' }).waitFor();
  await page.screenshot({ path: join(SHOTS, 'setting.png') });
  await answer('Change');
  await page.locator('td', { hasText: 'set by the API' }).waitFor();
  const { options } = await administer(server, '/api/v1/config');
  assert.equal(options.find((option) => option.name === 'hub.media_idle').value, '7s');
  await page.getByRole('button', { name: 'Change hub.media_idle' }).click();
  await answer('As it was');
  await answer('Change');
  await page.locator('td', { hasText: 'set by the API' }).waitFor({ state: 'detached' });
});

test('keys alone reach everything', async () => {
  await go('streams');
  await page.locator('main').focus();
  await page.keyboard.press('Tab');
  for (let n = 0; n < 10 && !(await page.evaluate(() => document.activeElement?.classList.contains('name'))); n += 1) await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => location.hash === '#/streams/show');
  await page.getByRole('button', { name: 'Kick publisher' }).focus();
  await page.keyboard.press('Enter');
  await page.locator('dialog').waitFor();
  await page.keyboard.press('Escape');
  await page.locator('dialog').waitFor({ state: 'detached' });
  assert.equal((await administer(server, '/api/v1/streams/show')).state, 'live');
});

test('the publisher is kicked and the stream ended', async () => {
  await go('streams/show');
  await page.getByRole('button', { name: 'Kick publisher' }).click();
  await answer('Kick');
  await said('The publisher was sent away');
  await page.locator('header .chip[data-state=waiting]').waitFor();
  await page.screenshot({ path: join(SHOTS, 'waiting.png') });
  await page.getByRole('button', { name: 'End stream' }).click();
  await answer('End');
  await said('The stream is over');
  await go('audit');
  for (const action of ['stream end', 'stream kick', 'session end', 'stream mark', 'key revoke', 'login']) {
    await page.locator('td', { hasText: action }).first().waitFor();
  }
  await go('streams');
  await page.locator('main', { hasText: 'Nothing is live' }).waitFor();
  await page.screenshot({ path: join(SHOTS, 'nothing.png'), fullPage: true });
  assert.deepEqual(await barriers(), []);
});

test('who logs out is out, and a lost server is said to be', async () => {
  await page.getByRole('button', { name: 'Log out' }).click();
  await page.getByLabel('Admin token').fill(ADMIN_TOKEN);
  await page.keyboard.press('Enter');
  await page.locator('.connection[data-state=on]').waitFor();
  await go('server');
  await page.getByRole('button', { name: 'Drain' }).click();
  await answer('Drain');
  await page.locator('.connection[data-state=off]').waitFor();
});

test('the first load is small', async () => {
  const dist = fileURLToPath(new URL('../../static/dist', import.meta.url));
  const html = await readFile(join(dist, 'admin.html'), 'utf8');
  const assets = [...html.matchAll(/"\/(assets\/[^"]+\.(?:js|css))"/g)].map(([, path]) => path);
  const sizes = await Promise.all(assets.map(async (path) => gzipSync(await readFile(join(dist, path))).length));
  const total = sizes.reduce((sum, size) => sum + size, gzipSync(html).length);
  assert.ok(assets.length >= 3 && total <= 150 * 1024, `${total} bytes in ${assets}`);
});
