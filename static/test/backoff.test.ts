import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backoff } from '../src/player/backoff';

test('doubles from the floor to the ceiling and stays there', () => {
  const backoff = new Backoff(2_000, 10_000, () => 0.5);
  assert.deepEqual([1, 2, 3, 4, 5].map(() => backoff.next()), [2_000, 4_000, 8_000, 10_000, 10_000]);
  backoff.reset();
  assert.equal(backoff.next(), 2_000);
});

test('spreads by a quarter to either side and never beyond the ceiling', () => {
  assert.equal(new Backoff(2_000, 10_000, () => 0).next(), 1_500);
  assert.equal(new Backoff(2_000, 10_000, () => 1).next(), 2_500);
  assert.equal(new Backoff(10_000, 10_000, () => 1).next(), 10_000);
});

test('a thousand failures do not overflow', () => {
  const backoff = new Backoff(500, 10_000, () => 0.5);
  for (let i = 0; i < 1_000; i++) assert.ok(backoff.next() <= 10_000);
});
