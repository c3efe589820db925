import assert from 'node:assert/strict';
import { test } from 'node:test';
import { flag, nameOf, prefixOf } from '../src/location';
import { Stalls } from '../src/player/stalls';
import { keyOf, soundOf, unnamed, viewerOf } from '../src/player/variants';
import { verbOf } from '../src/ui/keyboard';
import { bits, clock, rungTitle } from '../src/ui/words';

test('stalls are counted once each and timed to the present', () => {
  const stalls = new Stalls();
  assert.equal(stalls.begin(1), true);
  assert.equal(stalls.begin(2), false);
  assert.equal(stalls.seconds(3), 2);
  stalls.end(4);
  stalls.end(9);
  assert.equal(stalls.seconds(10), 3);
  assert.equal(stalls.begin(11), true);
  assert.deepEqual([stalls.count, stalls.active, stalls.seconds(12)], [2, true, 4]);
});

test('the name comes from the address', () => {
  assert.equal(nameOf('/watch/demo'), 'demo');
  assert.equal(nameOf('/embed/a-b_c.d/'), 'a-b_c.d');
  assert.equal(nameOf('/watch/a%2Fb'), 'a/b');
  assert.equal(nameOf('/watch/%E0%A4%A'), '');
  assert.equal(nameOf('/s/a-b.c_d/watch/demo'), 'demo');
  assert.equal(prefixOf('/s/a-b.c_d/watch/demo'), '/s/a-b.c_d');
  for (const path of ['/watch/demo', '/s/', '/s//watch/demo', '/s/a', '/s/a%20/watch/demo']) assert.equal(prefixOf(path), '');
  assert.equal(nameOf('/watch/'), '');
  assert.equal(nameOf('/watch/a/b'), '');
});

test('switches are on until turned off', () => {
  assert.equal(flag('', 'muted'), true);
  for (const off of ['?muted=0', '?muted=false', '?a=1&muted=no']) assert.equal(flag(off, 'muted'), false);
  assert.equal(flag('?muted=1', 'muted'), true);
  assert.equal(flag('', 'muted', false), false);
});

test('keys in either case, and none that belongs to the browser', () => {
  const key = (name: string, held = {}) => verbOf({ key: name, ctrlKey: false, metaKey: false, altKey: false, ...held });
  assert.equal(key('k'), 'toggle');
  assert.equal(key('K'), 'toggle');
  assert.equal(key(' '), 'toggle');
  assert.equal(key('?'), 'help');
  assert.equal(key('ArrowLeft'), 'back');
  assert.equal(key('x'), null);
  assert.equal(key('l', { ctrlKey: true }), null);
  assert.equal(key('p', { metaKey: true }), null);
});

test('rungs are named as their files are, and as people say', () => {
  const text = [
    '#EXTM3U',
    '#EXT-X-STREAM-INF:AVERAGE-BANDWIDTH=1,BANDWIDTH=900000,RESOLUTION=1280x720',
    'source.m3u8',
    '#EXT-X-STREAM-INF:AVERAGE-BANDWIDTH=120000,BANDWIDTH=130000,CODECS="mp4a.40.2"',
    'aac.m3u8',
  ].join('\n');
  const sound = soundOf(text);
  assert.deepEqual(sound, { key: 'aac', height: 0, bitrate: 130_000, sound: true, viewer: '' });
  assert.equal(soundOf(text.replaceAll('CODECS', 'RESOLUTION=2x2,CODECS')), null);
  assert.equal(keyOf('http://host/live/show/720p.m3u8'), '720p');
  assert.equal(keyOf('720p.m3u8?ll=0&_HLS_msn=7'), '720p?ll=0');
  assert.equal(keyOf('720p.m3u8?ll=0&viewer=a-b'), '720p?ll=0');
  assert.equal(keyOf('720p.m3u8?viewer=a-b&_HLS_msn=7'), '720p');
  assert.equal(viewerOf('720p.m3u8?ll=0&viewer=a-b'), '?viewer=a-b');
  assert.equal(viewerOf('720p.m3u8'), '');
  assert.equal(unnamed('720p.m3u8?viewer=a-b'), '720p.m3u8');
  assert.equal(unnamed('720p.m3u8?ll=0&viewer=a-b'), '720p.m3u8?ll=0');
  assert.equal(unnamed('720p.m3u8?viewer=a-b&ll=0'), '720p.m3u8?ll=0');
  assert.equal(rungTitle({ key: '720p30', height: 720, bitrate: 1, sound: false, viewer: '' }), '720p30');
  assert.equal(rungTitle({ key: 'source', height: 1080, bitrate: 1, sound: false, viewer: '' }), '1080p');
  assert.equal(sound && rungTitle(sound), 'Sound only');
  assert.equal(rungTitle({ key: 'audio', height: 0, bitrate: 64_000, sound: false, viewer: '' }), '64 kbit/s');
});

test('times and rates as people write them', () => {
  assert.equal(clock(0), '0:00');
  assert.equal(clock(62.9), '1:02');
  assert.equal(clock(3_723), '1:02:03');
  assert.equal(clock(-1), '0:00');
  assert.equal(bits(0), 'unknown');
  assert.equal(bits(64_000), '64 kbit/s');
  assert.equal(bits(2_540_000), '2.5 Mbit/s');
});
