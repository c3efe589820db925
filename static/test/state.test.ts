import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Facts, judge, SILENCE } from '../src/player/state';

const PLAYING: Facts = {
  phase: 'engaged',
  reachable: true,
  soon: false,
  lost: false,
  begun: true,
  paused: false,
  stalled: false,
  forward: 0.7,
  silence: 0.1,
};

const cases: [string, Partial<Facts>, string][] = [
  ['all is well', {}, 'playing'],
  ['no picture yet', { begun: false, forward: 0 }, 'starting'],
  ['the viewer paused', { paused: true, silence: 60 }, 'paused'],
  ['waits to be started', { paused: true, begun: false }, 'paused'],
  ['late data', { stalled: true, forward: 0 }, 'buffering'],
  ['a silent broadcaster, still fed', { silence: SILENCE + 1 }, 'playing'],
  ['a silent broadcaster, dry', { silence: SILENCE + 1, stalled: true, forward: 0 }, 'reconnecting'],
  ['no way to the server, dry', { reachable: false, forward: 0 }, 'reconnecting'],
  ['no way to the server, still fed', { reachable: false }, 'playing'],
  ['off air', { phase: 'waiting', begun: false }, 'waiting'],
  ['about to start', { phase: 'waiting', soon: true }, 'starting'],
  ['the engine broke', { phase: 'waiting', lost: true }, 'reconnecting'],
  ['nobody answers', { phase: 'waiting', reachable: false }, 'offline'],
  ['over', { phase: 'ended' }, 'ended'],
  ['no decoder', { phase: 'unplayable' }, 'unplayable'],
  ['not let in', { phase: 'refused' }, 'refused'],
];

for (const [name, facts, state] of cases) {
  test(`${name}: ${state}`, () => assert.equal(judge({ ...PLAYING, ...facts }), state));
}
