import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EdgeClock } from '../src/player/edge';

const PART = 0.25;

test('knows nothing before the first playlist', () => {
  const clock = new EdgeClock();
  assert.equal(clock.at(5, PART), null);
  assert.equal(clock.age(5), 0);
});

test('sees through jitter: late playlists do not move the edge back', () => {
  const clock = new EdgeClock();
  const delays = [0, 0.08, 0.02, 0.12, 0.05, 0.09];
  delays.forEach((delay, i) => clock.observe(100 + i * PART + delay, i * PART));
  // On the line of the least delayed arrival: media time = clock - 100.
  assert.ok(Math.abs((clock.at(101.3, PART) ?? 0) - 1.3) < 1e-9);
});

test('never runs further ahead of the last part than the slack', () => {
  const clock = new EdgeClock();
  clock.observe(10, 4);
  assert.equal(clock.at(10.1, PART * 2), 4.1);
  assert.equal(clock.at(60, PART * 2), 4.5);
  assert.equal(clock.age(60), 50);
});

test('an unchanged playlist is no news', () => {
  const clock = new EdgeClock();
  assert.equal(clock.observe(10, 4), true);
  assert.equal(clock.observe(11, 4), false);
  assert.equal(clock.age(11), 1);
});

test('follows an encoder whose clock is slow', () => {
  const clock = new EdgeClock();
  // One part in a hundred late: after a minute the edge is 0.6 s behind the first line.
  for (let t = 0; t < 60; t += PART) clock.observe(t, t * 0.99);
  const seen = clock.at(60, 1) ?? 0;
  assert.ok(Math.abs(seen - 59.4) < 0.15, `${seen}`);
});

test('forgets on reset', () => {
  const clock = new EdgeClock();
  clock.observe(10, 400);
  clock.reset();
  assert.equal(clock.observe(20, 1), true);
  assert.equal(clock.at(20, PART), 1);
});
