// A browser that publishes two layers of the same pictures: viewers in real time get the layer that their link carries, and
// HLS has the layers as rungs, without any of them being made by the server.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { browse } from './browser.mjs';
import { relay } from './relay.mjs';
import { administer, serve } from './server.mjs';
import { open } from './viewer.mjs';

let server;
let browser;
let link;

before(async () => {
  server = await serve('--transcode-rungs', '["180p:300k"]', '--transcode-mode', 'always');
  browser = await browse();
  link = await relay();
});

after(async () => {
  await browser?.close();
  link?.close();
  await server?.close();
});

/** A page that publishes pictures of 640x360, and of half that size, in one codec. */
async function simulcast(name, codec) {
  const page = await browser.newPage();
  await page.goto(`${server.http}/`);
  const state = await page.evaluate(
    async ([name, codec]) => {
      const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 360 });
      const pen = canvas.getContext('2d');
      let count = 0;
      setInterval(() => {
        for (let x = 0; x < 640; x += 40) {
          pen.fillStyle = `hsl(${(count + x) % 360} 80% 50%)`;
          pen.fillRect(x, 0, 40, 360);
        }
        pen.fillStyle = '#fff';
        pen.fillRect(((count += 7) * 3) % 640, 100, 80, 160);
      }, 33);
      const connection = (window.connection = new RTCPeerConnection());
      const layer = (rid, scaleResolutionDownBy, maxBitrate) => ({ rid, scaleResolutionDownBy, maxBitrate });
      const video = connection.addTransceiver(canvas.captureStream(30).getVideoTracks()[0], {
        direction: 'sendonly',
        // Little enough for a browser to send both from the start.
        sendEncodings: [layer('low', 2, 60_000), layer('high', 1, 220_000)],
      });
      // Browsers make all layers smaller where the machine is busy; the test tells layers by their size.
      await video.sender.setParameters({ ...video.sender.getParameters(), degradationPreference: 'maintain-resolution' });
      const wanted = [`video/${codec}`, 'video/rtx'];
      video.setCodecPreferences(RTCRtpSender.getCapabilities('video').codecs.filter(({ mimeType }) => wanted.includes(mimeType)));
      await connection.setLocalDescription();
      const response = await fetch(`/whip/${name}`, {
        method: 'POST',
        headers: { 'content-type': 'application/sdp' },
        body: connection.localDescription.sdp,
      });
      const answer = await response.text();
      if (response.status !== 201) return answer;
      const connected = new Promise((resolve) => {
        connection.addEventListener('connectionstatechange', () => {
          if (connection.connectionState !== 'connecting') resolve(connection.connectionState);
        });
      });
      await connection.setRemoteDescription({ type: 'answer', sdp: answer });
      return connected;
    },
    [name, codec],
  );
  assert.equal(state, 'connected');
  return page;
}

/** Waits for pictures of a height. */
async function height(viewer, wanted) {
  await viewer.page.waitForFunction((wanted) => window.headwater.video.videoHeight === wanted, wanted, { timeout: 120_000 });
}

/** What the admin API says of a stream's rungs. */
async function rungs(name) {
  const { streams } = await administer(server, '/api/v1/streams');
  const { ladder } = streams.find((stream) => stream.name === name) ?? {};
  return Object.fromEntries((ladder?.rungs ?? []).map((rung) => [rung.name, rung]));
}

test('a viewer in real time gets the layer that its link carries', async () => {
  const publisher = await simulcast('layers', 'H264');
  const viewer = await open(browser, `${server.http}/`);
  await viewer.page.route('**/whep/*', async (route) => {
    const response = await route.fetch();
    const body = await response.text();
    await route.fulfill({ response, body: response.status() === 201 ? link.rewrite(body) : body });
  });
  await viewer.page.goto(`${server.http}/watch/layers?delay=realtime`);
  await viewer.until('playing');
  await height(viewer, 360);
  link.narrow(150_000);
  await height(viewer, 180);
  await viewer.until('playing');
  link.narrow(0);
  await height(viewer, 360);
  await viewer.close();

  // Nobody makes anything of these pictures: the lower layers are rungs as they are.
  const sent = Object.values(await rungs('layers')).filter(({ encoder }) => encoder.startsWith('layer'));
  assert.ok(sent.length === 1 && sent.every(({ state, misses }) => state === 'live' && misses === 0), JSON.stringify(await rungs('layers')));
  const hls = await open(browser, `${server.http}/watch/layers?delay=low`);
  await hls.until('playing');
  for (const { name: rung } of sent) {
    const playlist = await (await fetch(`${server.http}/live/layers/${rung}.m3u8`)).text();
    const source = await (await fetch(`${server.http}/live/layers/source.m3u8`)).text();
    const times = (text) => [...text.matchAll(/#EXT-X-PROGRAM-DATE-TIME:(\S+)/g)].map(([, time]) => time);
    const shared = times(source).filter((time) => times(playlist).includes(time));
    assert.ok(shared.length >= 2, `${rung} begins its segments where the source does: ${playlist}\n${source}`);
  }
  await hls.close();
  await publisher.close();
});

test('layers in a codec that HLS players lack play in real time, and the best is made into rungs', async () => {
  const publisher = await simulcast('foreign', 'VP8');
  const viewer = await open(browser, `${server.http}/watch/foreign?delay=realtime`);
  await viewer.until('playing');
  await height(viewer, 360);
  await viewer.close();
  const hls = await open(browser, `${server.http}/watch/foreign?delay=low`);
  await hls.until('playing');
  const made = await rungs('foreign');
  assert.deepEqual(
    Object.values(made).map(({ encoder }) => encoder.startsWith('layer')),
    Object.values(made).map(() => false),
  );
  await hls.close();
  await publisher.close();
});
