import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Load } from '../src/player/load';

const RATES = [500_000, 1_000_000, 3_000_000];

/** Parts of a quarter of a second over a link of this rate; gives the level in the end. */
function watch(load: Load, from: number, seconds: number, link: number, level: number): number {
  for (let now = from; now < from + seconds; now += 0.25) {
    const took = ((RATES[level] ?? 0) * 0.25) / link;
    level = load.part(now, took, 0.25, level, RATES) ?? level;
  }
  return level;
}

test('a link that is too narrow is left within two parts for a rung that fits', () => {
  assert.equal(watch(new Load(), 0, 0.5, 2_000_000, 2), 1);
  assert.equal(watch(new Load(), 0, 0.5, 1_000_000, 2), 0);
  assert.equal(watch(new Load(), 0, 5, 10_000_000, 2), 2);
});

test('one part that is far too slow is enough, one that is a little too slow is not', () => {
  assert.equal(new Load().part(1, 0.4, 0.25, 2, RATES), 1);
  assert.equal(new Load().part(1, 0.3, 0.25, 2, RATES), null);
  assert.equal(new Load().part(1, 0.4, 0.25, 0, RATES), null, 'there is nothing lighter');
});

test('a smaller picture that is heavier is no way down', () => {
  const odd = [1_200_000, 2_000_000, 1_500_000];
  assert.equal(new Load().part(1, 0.4, 0.25, 2, odd), 0);
  assert.equal(new Load().starved(1, 2, odd), 0);
  assert.equal(new Load().starved(1, 1, [3_000_000, 1_000_000]), null);
});

test('a link that recovers is trusted after a while, one rung at a time', () => {
  const load = new Load();
  assert.equal(watch(load, 0, 1, 1_000_000, 2), 0);
  assert.equal(watch(load, 1, 8, 10_000_000, 0), 0);
  assert.equal(watch(load, 9, 6, 10_000_000, 0), 1);
  assert.equal(watch(load, 15, 15, 10_000_000, 1), 2);
});

test('what failed soon after it was tried is tried later the next time', () => {
  const load = new Load();
  assert.equal(watch(load, 0, 12, 10_000_000, 1), 2);
  assert.equal(load.starved(13, 2, RATES), 1);
  assert.equal(watch(load, 13, 15, 10_000_000, 1), 1);
  assert.equal(watch(load, 28, 10, 10_000_000, 1), 2);
});
