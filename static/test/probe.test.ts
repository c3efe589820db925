import assert from 'node:assert/strict';
import { test } from 'node:test';
import { epochOf, type Fetch, firstVariant, isOver, probe } from '../src/player/probe';

const MULTI = '#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS="avc1.42c01f"\n\nvideo.m3u8\n';
const LIVE = '#EXTM3U\n#EXTINF:2,\n1.m4s\n';
const BASE = 'http://host/live/demo/index.m3u8';

// The page's address, which relative playlists are resolved against.
Object.assign(globalThis, { location: { href: 'http://host/watch/demo' } });

function server(answers: Record<string, [number, string, Record<string, string>?]>): Fetch {
  return async (url) => {
    const [status, body, headers] = answers[url] ?? [404, ''];
    return new Response(body, { status, headers: headers ?? {} });
  };
}

test('a playlist that goes on is live', async () => {
  const fetcher = server({ [BASE]: [200, MULTI], 'http://host/live/demo/video.m3u8': [200, LIVE] });
  assert.deepEqual(await probe(BASE, fetcher), { kind: 'live' });
});

test('one with an end is over', async () => {
  const fetcher = server({ [BASE]: [200, MULTI], 'http://host/live/demo/video.m3u8': [200, `${LIVE}#EXT-X-ENDLIST\n`] });
  assert.deepEqual(await probe(BASE, fetcher), { kind: 'over' });
});

test('none is off the air, and so is one that vanished between the two questions', async () => {
  assert.deepEqual(await probe(BASE, server({})), { kind: 'off' });
  assert.deepEqual(await probe(BASE, server({ [BASE]: [200, MULTI] })), { kind: 'off' });
});

test('503 means soon, and how soon', async () => {
  assert.deepEqual(await probe(BASE, server({ [BASE]: [503, '', { 'retry-after': '3' }] })), { kind: 'soon', retryAfter: 3 });
  assert.deepEqual(await probe(BASE, server({ [BASE]: [503, ''] })), { kind: 'soon', retryAfter: null });
  const dated = { 'retry-after': 'Thu, 01 Jan 2026 00:00:00 GMT' };
  assert.deepEqual(await probe(BASE, server({ [BASE]: [503, '', dated] })), { kind: 'soon', retryAfter: null });
});

test('whoever is not let in hears why', async () => {
  for (const status of [401, 403, 429]) {
    assert.deepEqual(await probe(BASE, server({ [BASE]: [status, 'this link has expired\n'] })), { kind: 'refused', reason: 'this link has expired' });
  }
});

test('whoever looks whether there is something is no viewer', async () => {
  const named = MULTI.replace('video.m3u8', 'video.m3u8?viewer=abc');
  const fetcher = server({ [BASE]: [200, named], 'http://host/live/demo/video.m3u8': [200, LIVE] });
  assert.deepEqual(await probe(BASE, fetcher), { kind: 'live' });
});

test('everything else is no answer', async () => {
  assert.deepEqual(await probe(BASE, server({ [BASE]: [500, ''] })), { kind: 'unreachable' });
  const broken: Fetch = () => Promise.reject(new TypeError('failed'));
  assert.deepEqual(await probe(BASE, broken), { kind: 'unreachable' });
});

test('reads playlists with either line end', () => {
  assert.equal(firstVariant(MULTI.replaceAll('\n', '\r\n')), 'video.m3u8');
  assert.equal(firstVariant(LIVE), null);
  assert.equal(firstVariant('#EXT-X-STREAM-INF:BANDWIDTH=1\n#EXT-X-END'), null);
  assert.equal(isOver('#EXTM3U\r\n#EXT-X-ENDLIST\r\n'), true);
  assert.equal(isOver('#EXT-X-ENDLISTS'), false);
});

test('reads the epoch out of a media address', () => {
  assert.equal(epochOf('http://host/live/demo/17/video/3.1.m4s'), '17');
  assert.equal(epochOf('http://host/elsewhere/3.m4s'), null);
});
