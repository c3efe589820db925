// A link of a bit rate that can be changed, in front of a server: all connections through it share the rate.

import { connect, createServer } from 'node:net';

const TICK_MS = 5;
const PACKET = 1_460;
/** Bytes that wait for the link; then the server waits. */
const QUEUE = 64 * 1024;

/** `{ http, narrow(bitsPerSecond), close() }`; 0 is as wide as can be. */
export async function link(http) {
  const lanes = new Set();
  let rate = 0;
  let credit = 0;
  let last = performance.now();
  const send = (lane) => {
    const part = lane.waiting.subarray(0, PACKET);
    lane.client.write(part);
    lane.waiting = lane.waiting.subarray(part.length);
    if (lane.waiting.length < QUEUE && lane.server.isPaused()) lane.server.resume();
    return part.length;
  };
  const pump = () => {
    const now = performance.now();
    credit = rate === 0 ? Infinity : Math.min(rate * 0.05, credit + (rate * (now - last)) / 1000);
    last = now;
    let busy = true;
    while (busy && credit > 0) {
      busy = false;
      for (const lane of lanes) {
        if (credit <= 0 || lane.waiting.length === 0) continue;
        credit -= send(lane);
        busy = true;
      }
    }
  };
  const timer = setInterval(pump, TICK_MS);
  const port = Number(new URL(http).port);
  const door = createServer((client) => {
    const server = connect(port, '127.0.0.1');
    const lane = { client, server, waiting: Buffer.alloc(0) };
    lanes.add(lane);
    server.on('data', (bytes) => {
      lane.waiting = Buffer.concat([lane.waiting, bytes]);
      if (lane.waiting.length > QUEUE) server.pause();
    });
    client.on('data', (bytes) => server.write(bytes));
    const end = () => {
      lanes.delete(lane);
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) socket.on('close', end).on('error', end);
  });
  await new Promise((resolve) => door.listen(0, '127.0.0.1', resolve));
  return {
    http: `http://127.0.0.1:${door.address().port}`,
    narrow: (bits) => {
      rate = bits / 8;
    },
    close: async () => {
      clearInterval(timer);
      for (const lane of lanes) lane.client.destroy();
      await new Promise((resolve) => door.close(resolve));
    },
  };
}
