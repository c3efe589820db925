import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CUSHION, EXTRA_MAX, LatencyController, RATE_MAX, RATE_MIN, REJOIN_BEHIND, type Sample } from '../src/player/latency';

const HOLD_BACK = 0.768;
const TARGET = HOLD_BACK + CUSHION;

function sample(changes: Partial<Sample> = {}): Sample {
  return { now: 1_000, latency: TARGET, forward: 0.6, holdBack: HOLD_BACK, stalled: false, targetBuffered: false, ...changes };
}

test('at the target the rate is exactly one', () => {
  assert.deepEqual(new LatencyController().advise(sample()), { rate: 1, rejoin: false });
});

test('small distances are left alone, and a correction goes on until it is done', () => {
  const controller = new LatencyController();
  assert.equal(controller.advise(sample({ latency: TARGET + 0.09 })).rate, 1);
  assert.ok(controller.advise(sample({ latency: TARGET + 0.2 })).rate > 1);
  assert.ok(controller.advise(sample({ latency: TARGET + 0.05 })).rate > 1);
  assert.equal(controller.advise(sample({ latency: TARGET + 0.01 })).rate, 1);
  assert.equal(controller.advise(sample({ latency: TARGET + 0.05 })).rate, 1);
});

test('the rate stays within what nobody hears', () => {
  const controller = new LatencyController();
  for (let latency = 0; latency < TARGET + REJOIN_BEHIND; latency += 0.05) {
    const { rate } = controller.advise(sample({ latency, forward: 3 }));
    assert.ok(rate >= RATE_MIN && rate <= RATE_MAX, `${rate} at ${latency}`);
  }
});

test('too close to the edge it slows down', () => {
  assert.ok(new LatencyController().advise(sample({ latency: 0.3, forward: 0.1 })).rate < 1);
});

test('an empty buffer is never played faster', () => {
  const controller = new LatencyController();
  assert.ok(controller.advise(sample({ latency: 2, forward: 0.15 })).rate <= 1);
  assert.ok(controller.advise(sample({ latency: 2, forward: 0.6 })).rate > 1.05);
});

test('a nearly empty buffer slows down, whatever the latency', () => {
  const controller = new LatencyController();
  assert.ok(controller.advise(sample({ latency: TARGET, forward: 0.1 })).rate < 1);
  assert.ok(controller.advise(sample({ latency: TARGET + 0.4, forward: 0.05 })).rate < 0.98);
  assert.equal(controller.advise(sample({ latency: TARGET, forward: 0 })).rate, RATE_MIN);
});

test('a stalled picture resumes with what the edge can give, and with more after a lesson', () => {
  const controller = new LatencyController();
  const first = controller.enough(HOLD_BACK);
  assert.ok(first >= 0.5 && first < HOLD_BACK - 0.2);
  controller.stalled(1, 0);
  assert.ok(controller.enough(HOLD_BACK) > first);
});

test('less than hls.js would want is enough to catch up', () => {
  assert.equal(new LatencyController().advise(sample({ latency: 1.5, forward: 0.9 })).rate, RATE_MAX);
});

test('a second behind is caught up within fifteen seconds, without overshooting', () => {
  const controller = new LatencyController();
  let latency = TARGET + 1;
  let at = 0;
  for (let now = 0; now < 60; now += 0.1) {
    const { rate } = controller.advise(sample({ now, latency, forward: latency - 0.2 }));
    latency -= (rate - 1) * 0.1;
    if (latency < TARGET + 0.1 && at === 0) at = now;
    assert.ok(latency > TARGET - 0.05);
  }
  assert.ok(at > 0 && at < 15, `${at}`);
});

test('ahead of the target it corrects sooner than behind', () => {
  assert.equal(new LatencyController().advise(sample({ latency: TARGET + 0.07 })).rate, 1);
  assert.ok(new LatencyController().advise(sample({ latency: TARGET - 0.07 })).rate < 1);
});

test('stalls move the target back, within a bound, and calm minutes bring it home', () => {
  const controller = new LatencyController();
  for (let i = 0; i < 50; i++) controller.stalled(i * 20, 0);
  assert.equal(controller.target(HOLD_BACK), TARGET + EXTRA_MAX);
  let now = 1_000;
  for (let i = 0; i < 10; i++) {
    now += 31;
    controller.advise(sample({ now, latency: controller.target(HOLD_BACK) }));
  }
  assert.equal(controller.target(HOLD_BACK), TARGET);
});

test('a burst of stalls is one lesson', () => {
  const controller = new LatencyController();
  for (let i = 0; i < 10; i++) controller.stalled(100 + i, 0);
  assert.equal(controller.target(HOLD_BACK), TARGET + 0.25);
});

test('who lacks bandwidth is not helped by distance', () => {
  const controller = new LatencyController();
  for (let i = 0; i < 10; i++) controller.stalled(i * 20, 2);
  assert.equal(controller.target(HOLD_BACK), TARGET);
});

test('far behind with the live position in the buffer: jumps at once', () => {
  const advice = new LatencyController().advise(sample({ latency: 6, forward: 5.5, targetBuffered: true }));
  assert.deepEqual(advice, { rate: 1, rejoin: true });
});

test('far behind but well fed and not yet there: plays on, faster', () => {
  const advice = new LatencyController().advise(sample({ latency: 6, forward: 2, targetBuffered: false }));
  assert.deepEqual(advice, { rate: RATE_MAX, rejoin: false });
});

test('far behind and starving: jumps, but ever more seldom', () => {
  const controller = new LatencyController();
  const jumps: number[] = [];
  for (let now = 0; now < 120; now += 0.1) {
    if (controller.advise(sample({ now, latency: 9, forward: 0, stalled: true })).rejoin) jumps.push(now);
  }
  assert.ok(jumps.length >= 4 && jumps.length <= 8, `${jumps.length}`);
  const gaps = jumps.slice(1).map((at, i) => at - (jumps[i] ?? 0));
  gaps.forEach((gap, i) => assert.ok(gap > (gaps[i - 1] ?? 0) - 1e-6, `${gaps}`));
});

test('a new stream begins without the lessons of the old one', () => {
  const controller = new LatencyController();
  controller.stalled(1, 0);
  controller.reset();
  assert.equal(controller.target(HOLD_BACK), TARGET);
});
