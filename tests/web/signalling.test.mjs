// WHIP and WHEP over HTTP: what RFC 9725 asks of an endpoint, and how it refuses. Offers are made by a browser.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { browse } from './browser.mjs';
import { publish, serve } from './server.mjs';

let server;
let browser;
let offers;

before(async () => {
  server = await serve('--webrtc-ice-servers', '["stun:stun.example.org:3478", "turn:ann:secret@turn.example.org:3478"]');
  browser = await browse();
  const page = await browser.newPage();
  await page.goto(`${server.http}/`);
  offers = await page.evaluate(async () => {
    const make = async (direction) => {
      const connection = new RTCPeerConnection();
      connection.addTransceiver('audio', { direction });
      connection.addTransceiver('video', { direction });
      await connection.setLocalDescription();
      return connection.localDescription.sdp;
    };
    return { publish: await make('sendonly'), play: await make('recvonly') };
  });
});

after(async () => {
  await browser?.close();
  await server?.close();
});

const SDP = { 'content-type': 'application/sdp' };
const FRAGMENT = { 'content-type': 'application/trickle-ice-sdpfrag' };

const ask = (method, path, headers = {}, body = undefined) =>
  fetch(`${server.http}${path}`, { method, headers, body, redirect: 'manual' });

/** A refusal, with its reason as RFC 9457 has it. */
async function refused(response, status, reason) {
  assert.equal(response.status, status);
  assert.equal(response.headers.get('content-type'), 'application/problem+json');
  const problem = await response.json();
  assert.equal(problem.status, status);
  assert.match(problem.detail, reason);
}

test('an offer is answered with a session, which is patched and deleted', async () => {
  const created = await ask('POST', '/whip/one', SDP, offers.publish);
  assert.equal(created.status, 201);
  assert.equal(created.headers.get('content-type'), 'application/sdp');
  const [location, etag] = [created.headers.get('location'), created.headers.get('etag')];
  assert.match(location, /^\/whip\/one\/[0-9a-f]{32}$/);
  const links = created.headers.get('link');
  assert.match(links, /<stun:stun\.example\.org:3478>; rel="ice-server"/);
  assert.match(links, /<turn:turn\.example\.org:3478>; rel="ice-server"; username="ann"; credential="secret"; credential-type="password"/);
  assert.equal(created.headers.get('accept-patch'), 'application/trickle-ice-sdpfrag');
  assert.equal(created.headers.get('access-control-allow-origin'), '*');
  assert.match(created.headers.get('access-control-expose-headers'), /Location, ETag, Link/);
  const answer = await created.text();
  assert.match(answer, /a=ice-lite/);
  assert.match(answer, /a=candidate:\d+ 1 udp \d+ [\d.]+ \d+ typ host/);
  assert.match(answer, /a=candidate:\d+ 1 tcp \d+ [\d.]+ \d+ typ host tcptype passive/);

  const candidates = 'a=ice-ufrag:abcd\r\na=ice-pwd:x\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n';
  await refused(await ask('PATCH', location, FRAGMENT, candidates), 428, /If-Match/);
  await refused(await ask('PATCH', location, { ...FRAGMENT, 'if-match': '"other"' }, candidates), 412, /entity tag/);
  await refused(await ask('PATCH', location, { ...SDP, 'if-match': etag }, candidates), 415, /trickle-ice-sdpfrag/);
  await refused(await ask('PATCH', location, { ...FRAGMENT, 'if-match': etag }, 'rubbish'), 400, /SDP fragment/);
  assert.equal((await ask('PATCH', location, { ...FRAGMENT, 'if-match': etag }, candidates)).status, 204);
  // A restart, before anything has come over the first path.
  const restarted = await ask('PATCH', location, { ...FRAGMENT, 'if-match': '*' }, candidates);
  assert.equal(restarted.status, 200);
  const fresh = /a=ice-ufrag:(\S+)/.exec(await restarted.text())[1];
  assert.ok(!answer.includes(`a=ice-ufrag:${fresh}`));
  await refused(await ask('PATCH', location, { ...FRAGMENT, 'if-match': etag }, candidates), 412, /entity tag/);

  assert.equal((await ask('DELETE', location)).status, 200);
  await refused(await ask('DELETE', location), 404, /over/);
  await refused(await ask('PATCH', location, { ...FRAGMENT, 'if-match': etag }, candidates), 404, /over/);
});

test('what cannot be served is refused with its reason', async () => {
  await refused(await ask('POST', '/whip/two', { 'content-type': 'text/plain' }, offers.publish), 415, /application\/sdp/);
  await refused(await ask('POST', '/whip/two', SDP, 'v=0'), 400, /session description|media section/);
  await refused(await ask('POST', '/whip/two', SDP, offers.publish.replaceAll(/a=fingerprint.*\r\n/g, '')), 400, /a=fingerprint/);
  await refused(await ask('POST', '/whip/two', SDP, offers.play), 422, /nothing in the offer/);
  await refused(await ask('POST', '/whip/two', SDP, 'x'.repeat(100_000)), 413, /64 KiB/);
  await refused(await ask('POST', '/whip/.hidden', SDP, offers.publish), 404, /dot/);
  await refused(await ask('GET', '/whip/two'), 405, /offer/);
  await refused(await ask('PUT', '/whip/two/abc'), 405, /PATCH/);
  const offAir = await ask('POST', '/whep/nobody', SDP, offers.play);
  assert.equal(offAir.headers.get('retry-after'), '2');
  await refused(offAir, 404, /off the air/);
});

test('preflights and OPTIONS say what is taken, and a slash too many is mended', async () => {
  for (const path of ['/whip/three', '/whep/three']) {
    const options = await ask('OPTIONS', path, { origin: 'https://elsewhere.example', 'access-control-request-method': 'POST' });
    assert.equal(options.status, 204);
    assert.equal(options.headers.get('accept-post'), 'application/sdp');
    assert.equal(options.headers.get('access-control-allow-methods'), 'POST, OPTIONS');
    assert.match(options.headers.get('access-control-allow-headers'), /Authorization/);
  }
  const slashed = await ask('POST', '/whip/three/', SDP, offers.publish);
  assert.equal(slashed.status, 307);
  assert.equal(slashed.headers.get('location'), '/whip/three');
});

test('a key is asked for as a bearer token, and a name that is taken is said to be', async () => {
  const keyed = await serve('--access-keys', '[{ stream = "show", secret = "s3cret" }]', '--hub-takeover', 'reject');
  const post = (headers) => fetch(`${keyed.http}/whip/show`, { method: 'POST', headers: { ...SDP, ...headers }, body: offers.publish });
  for (const headers of [{}, { authorization: 'Bearer wrong' }, { authorization: 'Basic s3cret' }]) {
    const response = await post(headers);
    assert.match(response.headers.get('www-authenticate'), /^Bearer/);
    await refused(response, 401, /bearer token/);
  }
  const publisher = publish(keyed, 'show?key=s3cret');
  // The name is taken as soon as the publisher is let in.
  for (let tries = 0; (await post({ authorization: 'Bearer s3cret' })).status === 201; tries += 1) {
    assert.ok(tries < 60, 'the publisher comes on the air');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await refused(await post({ authorization: 'Bearer s3cret' }), 409, /already being published/);
  await publisher.kill();
  await keyed.close();
});

test('half-done offers are bounded', async () => {
  const statuses = [];
  for (let count = 0; count < 80; count += 1) statuses.push((await ask('POST', '/whip/many', SDP, offers.publish)).status);
  assert.equal(statuses.filter((status) => status === 201).length, 64);
  assert.deepEqual([...new Set(statuses)], [201, 503]);
});
