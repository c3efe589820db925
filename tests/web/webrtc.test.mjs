// WebRTC in a real browser: published from the publish page and by WHIP, watched in real time on the watch page, with every
// codec a browser has, and with the way back to HLS.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, test } from 'node:test';
import { browse } from './browser.mjs';
import { publishByWhip } from './datachannel.mjs';
import { address, publish, serve, stop } from './server.mjs';
import { open } from './viewer.mjs';

let server;
let browser;

before(async () => {
  server = await serve();
  browser = await browse();
});

after(async () => {
  await browser?.close();
  await server?.close();
});

/** A page on the server that publishes moving pictures and a tone by WHIP; `codec` of the pictures. */
async function whip(name, codec) {
  const page = await browser.newPage();
  await page.goto(`${server.http}/`);
  const state = await page.evaluate(
    async ([name, codec]) => {
      const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 360 });
      const pen = canvas.getContext('2d');
      let count = 0;
      setInterval(() => {
        pen.fillStyle = `hsl(${(count += 7) % 360} 80% 50%)`;
        pen.fillRect(0, 0, 640, 360);
        pen.fillStyle = '#fff';
        pen.fillRect((count * 3) % 640, 100, 80, 160);
      }, 33);
      const context = new AudioContext();
      const tone = context.createOscillator();
      const sound = context.createMediaStreamDestination();
      tone.connect(sound);
      tone.start();
      const connection = (window.connection = new RTCPeerConnection());
      const video = connection.addTransceiver(canvas.captureStream(30).getVideoTracks()[0], { direction: 'sendonly' });
      const wanted = [`video/${codec}`, 'video/rtx'];
      video.setCodecPreferences(RTCRtpSender.getCapabilities('video').codecs.filter(({ mimeType }) => wanted.includes(mimeType)));
      connection.addTransceiver(sound.stream.getAudioTracks()[0], { direction: 'sendonly' });
      await connection.setLocalDescription();
      const response = await fetch(`/whip/${name}`, {
        method: 'POST',
        headers: { 'content-type': 'application/sdp' },
        body: connection.localDescription.sdp,
      });
      const answer = await response.text();
      if (response.status !== 201) return answer;
      window.session = response.headers.get('location');
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

/** Sound is heard, and not silence. */
async function sounds(viewer) {
  await viewer.page.waitForFunction(async () => {
    const { video } = window.headwater;
    if (!window.analyser) {
      const context = new AudioContext();
      window.analyser = context.createAnalyser();
      context.createMediaStreamSource(video.srcObject).connect(window.analyser);
    }
    const samples = new Float32Array(window.analyser.fftSize);
    window.analyser.getFloatTimeDomainData(samples);
    return samples.some((sample) => Math.abs(sample) > 0.01);
  });
}

/** New pictures come. */
async function moves(viewer) {
  const frames = () => viewer.page.evaluate(() => window.headwater.video.getVideoPlaybackQuality().totalVideoFrames);
  const before = await frames();
  await viewer.page.waitForFunction(
    (least) => window.headwater.video.getVideoPlaybackQuality().totalVideoFrames > least,
    before + 15,
  );
}

for (const codec of ['H264', 'VP8', 'VP9', 'AV1']) {
  test(`what a browser publishes in ${codec} plays in real time and over HLS`, async () => {
    const publisher = await whip(`cam-${codec}`, codec);
    const viewer = await open(browser, `${server.http}/watch/cam-${codec}`, 'realtime');
    await viewer.until('playing');
    await moves(viewer);
    await sounds(viewer);
    const seen = await viewer.snapshot();
    assert.equal(seen.protocol, 'WebRTC');
    assert.match(seen.codecs, new RegExp(codec));
    await viewer.when((snapshot) => snapshot.latency !== null && snapshot.latency < 0.5, 'it is in real time');
    await viewer.close();
    const hls = await open(browser, `${server.http}/watch/cam-${codec}`, 'low');
    await hls.until('playing');
    await moves(hls);
    await hls.close();
    await publisher.close();
  });
}

test('a publisher of the kind of OBS plays in real time and over HLS, also when its first packets are lost', async () => {
  const publisher = await publishByWhip(server, 'obs', { lose: (count) => count <= 50 });
  for (const delay of ['realtime', 'low']) {
    const viewer = await open(browser, `${server.http}/watch/obs`, delay);
    await viewer.until('playing');
    await moves(viewer);
    if (delay === 'realtime') await sounds(viewer);
    await viewer.close();
  }
  await publisher.stop();
});

test('RTMP plays in real time, with its sound, the first picture at once', async () => {
  const publisher = publish(server, 'rtmp');
  const first = await open(browser, `${server.http}/watch/rtmp`, 'realtime');
  await first.until('playing');
  await first.close();
  const viewer = await open(browser, `${server.http}/watch/rtmp`, 'realtime');
  await viewer.until('playing');
  await moves(viewer);
  await sounds(viewer);
  assert.equal((await viewer.snapshot()).realtime, true);
  await viewer.close();
  await publisher.kill();
});

test('a source with B-frames plays in real time from a rung without them', async () => {
  const child = spawn('ffmpeg', [
    ...['-hide_banner', '-loglevel', 'error', '-nostdin', '-re', '-f', 'lavfi', '-i', 'testsrc2=size=426x240:rate=30'],
    ...['-c:v', 'libx264', '-preset', 'ultrafast', '-bf', '3', '-g', '60', '-f', 'flv', address(server, 'reordered')],
  ]);
  const viewer = await open(browser, `${server.http}/watch/reordered`, 'realtime');
  await viewer.until('playing');
  await moves(viewer);
  const stamps = await viewer.page.evaluate(
    () =>
      new Promise((resolve) => {
        const seen = [];
        const look = (_, { rtpTimestamp }) => {
          seen.push(rtpTimestamp);
          if (seen.length === 30) resolve(seen);
          else window.headwater.video.requestVideoFrameCallback(look);
        };
        window.headwater.video.requestVideoFrameCallback(look);
      }),
  );
  const steps = stamps.slice(1).map((stamp, at) => (stamp - stamps[at]) | 0);
  assert.ok(steps.every((step) => step > 0), `pictures come in their order: ${steps}`);
  assert.equal((await viewer.snapshot()).realtime, true);
  await viewer.close();
  await stop(child, 'SIGKILL');
});

test('where WebRTC does not get through, HLS plays, and real time comes back', async () => {
  const publisher = publish(server, 'climb');
  const viewer = await open(browser, `${server.http}/watch/climb`, 'low');
  await viewer.until('playing');
  await viewer.page.route('**/whep/**', (route) => route.fulfill({ status: 502, body: 'no way' }));
  const choose = async (title) => {
    await viewer.page.hover('.player video', { position: { x: 100 + 10 * title.length, y: 100 } });
    await viewer.page.click('.delay-choice');
    await viewer.page.locator('.delays [role=menuitemradio]', { hasText: title }).click();
  };
  await choose('Real time');
  await viewer.when((snapshot) => snapshot.state === 'playing' && !snapshot.realtime, 'HLS plays instead');
  await viewer.page.locator('#trouble[open] #test').waitFor();
  await viewer.shows('.delay-choice .tag', /Low/);
  await viewer.page.unroute('**/whep/**');
  await viewer.when((snapshot) => snapshot.state === 'playing' && snapshot.realtime, 'real time is reached');
  await viewer.shows('.delay-choice .tag', /Real time/);
  await moves(viewer);
  await choose('Safe');
  await viewer.when((snapshot) => snapshot.state === 'playing' && !snapshot.realtime && snapshot.target > 4, 'it keeps a distance');
  await viewer.page.evaluate(() => localStorage.clear());
  await viewer.close();
  await publisher.kill();
});

test('the watch page says which step of the way to real time fails', async () => {
  const publisher = publish(server, 'doctor');
  const viewer = await open(browser, `${server.http}/watch/doctor`, 'low');
  await viewer.until('playing');
  await viewer.page.locator('#trouble summary').focus();
  await viewer.page.keyboard.press('Enter');
  const steps = async (last) => {
    await viewer.page.click('#test');
    await viewer.page.locator('#steps li', { hasText: last }).waitFor();
    return viewer.page.locator('#steps [data-result=bad]').allInnerTexts();
  };
  assert.deepEqual(await steps('Pictures or sound come'), []);
  await viewer.page.route('**/whep/**', async (route) => {
    if (route.request().method() !== 'POST') return route.continue();
    return route.fulfill({ status: 503, contentType: 'application/problem+json', body: '{"detail": "too many viewers"}' });
  });
  const [refused] = await steps('too many viewers');
  assert.match(refused, /The stream can be watched/);
  await viewer.close();
  await publisher.kill();
});

test('a viewer stays while the broadcaster is away, and is told when the show is over', async () => {
  const publisher = publish(server, 'gap');
  const viewer = await open(browser, `${server.http}/watch/gap`, 'realtime');
  await viewer.until('playing');
  await moves(viewer);
  await publisher.kill();
  await viewer.until('reconnecting');
  const again = publish(server, 'gap');
  await viewer.until('playing');
  await moves(viewer);
  assert.equal((await viewer.snapshot()).realtime, true);
  await again.stop();
  await viewer.until('ended');
  await viewer.close();
});

test('the publish page puts a camera on the air, shows how it goes, and takes it off', async () => {
  const page = await browser.newPage();
  const wrong = [];
  page.on('pageerror', (error) => wrong.push(String(error)));
  await page.goto(`${server.http}/publish/studio`);
  await page.waitForFunction(() => !document.querySelector('#go').disabled);
  await page.waitForFunction(() => document.querySelector('#meter').value > 0);
  await page.click('#test');
  await page.locator('#steps li', { hasText: 'The connection is secure' }).waitFor();
  assert.deepEqual(await page.locator('#steps [data-result=bad]').allInnerTexts(), []);
  await page.click('#go');
  await page.locator('#badge', { hasText: 'Live' }).waitFor();
  await page.locator('#health dd', { hasText: /\d+ × \d+, \d+ fps, H264/ }).waitFor();
  const viewer = await open(browser, `${server.http}/watch/studio`, 'realtime');
  await viewer.until('playing');
  await moves(viewer);
  await page.click('#go');
  await page.locator('#badge', { hasText: 'Off air' }).waitFor();
  await viewer.until('ended');
  await viewer.close();
  await page.close();
  assert.deepEqual(wrong, []);
});
