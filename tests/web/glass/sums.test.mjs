import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bitsOf } from './clock.mjs';
import { backWithin, percentile, sums } from './sums.mjs';

test('percentiles are values of the list', () => {
  const list = Array.from({ length: 100 }, (_, i) => i + 1);
  assert.deepEqual([0.5, 0.95, 0.99, 1].map((p) => percentile(list, p)), [50, 95, 99, 100]);
  assert.equal(percentile([], 0.5), null);
});

test('a gap of a quarter of a second is a freeze at 30 frames a second, a lost frame is none', () => {
  const frames = [0, 33, 100, 133, 400, 433].map((at, i) => [at, 900, i]);
  const { freezes, freezeSeconds, p50, unreadable } = sums(frames, 30);
  assert.deepEqual([freezes, freezeSeconds, p50, unreadable], [1, 0.267, 900, 0]);
});

test('back means back for two seconds', () => {
  const ages = [5000, 5000, 900, 5000, 900, 900, 900, 900];
  const frames = ages.map((age, i) => [10_000 + i * 1000, age, i]);
  assert.equal(backWithin(frames, 10_000, 1200), 4);
  assert.equal(backWithin(frames, 10_000, 100), null);
});

test('the clock has 48 bits, and its check sum depends on each', () => {
  const bits = bitsOf(0x12345678, 1);
  assert.equal(bits.length, 48);
  assert.equal(bits.slice(0, 8).join(''), '00010010');
  assert.notDeepEqual(bits.slice(40), bitsOf(0x12345679, 1).slice(40));
});
