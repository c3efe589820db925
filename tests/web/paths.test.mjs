// The ways that media takes between a browser and the server: over TCP where no UDP gets through, over IPv6, and over another
// path than it began on. Players of their own here, so that the test sees what the server's answers hold.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { browse } from './browser.mjs';
import { publish, serve } from './server.mjs';

let server;
let browser;
let publisher;

before(async () => {
  // Players are here before the first picture is.
  server = await serve('--webrtc-listen', '[::]:0', '--webrtc-wait', '30s');
  browser = await browse();
  publisher = publish(server, 'ways');
});

after(async () => {
  await publisher?.kill();
  await browser?.close();
  await server?.close();
});

/** A page with a WHEP player in it. `kept`: which of the answer's candidates it is told of. */
async function play(kept) {
  const page = await browser.newPage();
  await page.goto(`${server.http}/`);
  await page.evaluate(async (kept) => {
    const connection = (window.connection = new RTCPeerConnection());
    connection.addTransceiver('video', { direction: 'recvonly' });
    connection.addTransceiver('audio', { direction: 'recvonly' });
    const video = (window.video = Object.assign(document.createElement('video'), { muted: true, autoplay: true }));
    document.body.append(video);
    connection.addEventListener('track', ({ streams: [stream] }) => (video.srcObject = stream));
    await connection.setLocalDescription();
    window.choose = (sdp) =>
      sdp
        .split('\r\n')
        .filter((line) => !line.startsWith('a=candidate:') || new RegExp(kept).test(line))
        .join('\r\n');
    const offer = { method: 'POST', headers: { 'content-type': 'application/sdp' }, body: connection.localDescription.sdp };
    const response = await fetch('/whep/ways', offer);
    window.resource = response.headers.get('location');
    window.etag = response.headers.get('etag');
    window.answer = await response.text();
    await connection.setRemoteDescription({ type: 'answer', sdp: window.choose(window.answer) });
  }, kept.source);
  await moves(page);
  return page;
}

/** New pictures come. */
async function moves(page) {
  const shown = () => page.evaluate(() => window.video.getVideoPlaybackQuality().totalVideoFrames);
  const before = await shown();
  await page.waitForFunction((least) => window.video.getVideoPlaybackQuality().totalVideoFrames > least, before + 30);
}

/** The far end of the path in use: its protocol and address. */
function path(page) {
  return page.evaluate(async () => {
    const stats = await window.connection.getStats();
    const transport = [...stats.values()].find(({ type }) => type === 'transport');
    const pair = stats.get(transport.selectedCandidatePairId);
    const { protocol, address, ip, usernameFragment } = stats.get(pair.remoteCandidateId);
    return { protocol, address: address ?? ip, fragment: usernameFragment };
  });
}

test('media comes over TCP where no UDP gets through', async () => {
  const page = await play(/ tcp /i);
  assert.equal((await path(page)).protocol, 'tcp');
  await page.close();
});

test('media comes over IPv6', async () => {
  const page = await play(/ udp \d+ [0-9a-f]*:/i);
  const { protocol, address } = await path(page);
  assert.equal(protocol, 'udp');
  assert.match(address, /:/);
  await page.close();
});

test('media goes on over another path after a restart of ICE', async () => {
  const page = await play(/ udp /i);
  assert.notEqual((await path(page)).fragment, undefined);
  const restarted = await page.evaluate(async () => {
    const { connection } = window;
    const line = (sdp, name) => new RegExp(`^a=${name}:(.*)$`, 'm').exec(sdp)[1].trim();
    connection.restartIce();
    await connection.setLocalDescription();
    const own = connection.localDescription.sdp;
    const fragment = [
      `a=ice-ufrag:${line(own, 'ice-ufrag')}`,
      `a=ice-pwd:${line(own, 'ice-pwd')}`,
      /^m=.*$/m.exec(own)[0].trim(),
      'a=mid:0',
      '',
    ].join('\r\n');
    const response = await fetch(window.resource, {
      method: 'PATCH',
      headers: { 'content-type': 'application/trickle-ice-sdpfrag', 'if-match': '*' },
      body: fragment,
    });
    const text = await response.text();
    if (response.status !== 200) return { status: response.status, text };
    const fresh = window.answer
      .replaceAll(/^a=ice-ufrag:.*$/gm, `a=ice-ufrag:${line(text, 'ice-ufrag')}`)
      .replaceAll(/^a=ice-pwd:.*$/gm, `a=ice-pwd:${line(text, 'ice-pwd')}`);
    await connection.setRemoteDescription({ type: 'answer', sdp: fresh });
    const connected = () => ['connected', 'completed'].includes(connection.iceConnectionState);
    while (!connected()) await new Promise((resolve) => connection.addEventListener('iceconnectionstatechange', resolve, { once: true }));
    const etag = response.headers.get('etag');
    const late = await fetch(window.resource, {
      method: 'PATCH',
      headers: { 'content-type': 'application/trickle-ice-sdpfrag', 'if-match': window.etag },
      body: fragment,
    });
    return { status: 200, etag, fragment: line(text, 'ice-ufrag'), late: late.status };
  });
  assert.equal(restarted.status, 200, restarted.text);
  assert.ok(restarted.etag && restarted.etag !== (await page.evaluate(() => window.etag)));
  assert.equal(restarted.late, 412, 'the entity tag from before is no longer good');
  await page.waitForFunction(
    async (fragment) => {
      const stats = await window.connection.getStats();
      const transport = [...stats.values()].find(({ type }) => type === 'transport');
      const pair = stats.get(transport?.selectedCandidatePairId);
      return stats.get(pair?.remoteCandidateId)?.usernameFragment === fragment;
    },
    restarted.fragment,
  );
  await moves(page);
  await page.close();
});
