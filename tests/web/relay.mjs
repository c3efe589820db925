// A UDP relay with a bit rate that can be changed, loss and delay, between a browser and the server's media port: what the
// kernel's traffic control would do, without its modules. It stands in the answer's candidates instead of the server.

import dgram from 'node:dgram';
import { once } from 'node:events';

const TICK_MS = 5;
/** Milliseconds of the link's rate that wait before it; what does not fit is lost. */
const QUEUE_MS = 200;

/**
 * `{ narrow(bitsPerSecond), rewrite(sdp), close() }`; 0 is as wide as can be. `loss`: the share of datagrams that is lost,
 * either way; `rtt`: milliseconds added to a round trip.
 */
export async function relay({ loss = 0, rtt = 0 } = {}) {
  const chance = draws();
  let closed = false;
  /** One datagram's way: it is lost, or comes late. */
  const carry = (go) => {
    if (loss > 0 && chance() < loss) return;
    if (rtt > 0) setTimeout(() => closed || go(), rtt / 2);
    else go();
  };
  const front = dgram.createSocket('udp4');
  const backs = new Map();
  let target = 0;
  let rate = 0;
  let credit = 0;
  let queued = 0;
  let last = performance.now();
  const queue = [];
  const pump = () => {
    const now = performance.now();
    credit = rate === 0 ? Infinity : Math.min(rate * 0.02, credit + (rate * (now - last)) / 1000);
    last = now;
    while (queue.length > 0 && credit > 0) {
      const { packet, port, address } = queue.shift();
      queued -= packet.length;
      credit -= packet.length;
      carry(() => front.send(packet, port, address));
    }
  };
  const timer = setInterval(pump, TICK_MS);
  front.on('message', (packet, { port, address }) => {
    const key = `${address}:${port}`;
    if (!backs.has(key)) {
      const back = dgram.createSocket('udp4');
      back.on('message', (answer) => {
        if (rate > 0 && queued + answer.length > (rate * QUEUE_MS) / 1000) return;
        queue.push({ packet: answer, port, address });
        queued += answer.length;
        if (rate === 0) pump();
      });
      backs.set(key, back);
    }
    carry(() => backs.get(key)?.send(packet, target, '127.0.0.1'));
  });
  front.bind(0, '0.0.0.0');
  await once(front, 'listening');
  return {
    narrow: (bits) => {
      rate = bits / 8;
    },
    rewrite: (sdp) => {
      target = Number(/a=candidate:\S+ 1 udp \d+ \S+ (\d+)/.exec(sdp)[1]);
      const lines = sdp.split('\r\n').filter((line) => !/^a=candidate:\S+ 1 tcp/.test(line));
      return lines.join('\r\n').replaceAll(/(a=candidate:\S+ 1 udp \d+ \S+) \d+/g, `$1 ${front.address().port}`);
    },
    close: () => {
      clearInterval(timer);
      closed = true;
      front.close();
      for (const back of backs.values()) back.close();
    },
  };
}

/** Numbers from 0 to 1, the same in every run (a linear congruence). */
function draws() {
  let state = 12_345;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return state / 2 ** 31;
  };
}
