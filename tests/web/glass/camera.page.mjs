// Runs in a page of its own: a canvas with the clock burnt into it and a tone beside it, sent to WHIP or to a second
// connection in the same page. `measure.mjs` serves it and calls `window.camera`.

import { bitsOf, CELL, COLUMNS } from './clock.mjs';

const WIDTH = 640;
const HEIGHT = 360;
const RATE = 30;

/** What a camera would give: pictures that cost what real ones cost, stamped as they are drawn, and sound. */
function capture() {
  const canvas = Object.assign(document.createElement('canvas'), { width: WIDTH, height: HEIGHT });
  const pen = canvas.getContext('2d', { alpha: false });
  const pictures = canvas.captureStream(0);
  const [track] = pictures.getVideoTracks();
  let count = 0;
  const draw = () => {
    pen.fillStyle = '#345';
    pen.fillRect(0, 0, WIDTH, HEIGHT);
    for (let i = 0; i < 200; i++) {
      pen.fillStyle = `hsl(${(i * 37 + count * 5) % 360} 60% 50%)`;
      pen.fillRect((i * 61 + count * 3) % WIDTH, 80 + ((i * 29) % 270), 24, 10);
    }
    bitsOf(Date.now() % 2 ** 32, 1).forEach((bit, i) => {
      pen.fillStyle = bit ? '#fff' : '#000';
      pen.fillRect((i % COLUMNS) * CELL, Math.floor(i / COLUMNS) * CELL, CELL, CELL);
    });
    count += 1;
    track.requestFrame();
  };
  const began = performance.now();
  const tick = () => {
    draw();
    setTimeout(tick, Math.max(1, began + (count * 1000) / RATE - performance.now()));
  };
  tick();
  const context = new AudioContext();
  const tone = context.createOscillator();
  const sound = context.createMediaStreamDestination();
  tone.connect(sound);
  tone.start();
  return new MediaStream([track, ...sound.stream.getAudioTracks()]);
}

function sender() {
  const connection = new RTCPeerConnection();
  const stream = capture();
  for (const track of stream.getTracks()) {
    const transceiver = connection.addTransceiver(track, { direction: 'sendonly', streams: [stream] });
    if (track.kind !== 'video') continue;
    const wanted = ['video/H264', 'video/rtx'];
    transceiver.setCodecPreferences(RTCRtpSender.getCapabilities('video').codecs.filter(({ mimeType }) => wanted.includes(mimeType)));
  }
  return connection;
}

window.camera = {
  async whip(url) {
    const connection = sender();
    await connection.setLocalDescription();
    const headers = { 'content-type': 'application/sdp' };
    const response = await fetch(url, { method: 'POST', headers, body: connection.localDescription.sdp });
    const sdp = await response.text();
    if (response.status !== 201) throw new Error(sdp);
    await connection.setRemoteDescription({ type: 'answer', sdp });
  },
  /** From the page to itself: what a browser needs without any server. */
  async loopback() {
    const [from, to] = [sender(), new RTCPeerConnection()];
    from.addEventListener('icecandidate', ({ candidate }) => candidate && to.addIceCandidate(candidate));
    to.addEventListener('icecandidate', ({ candidate }) => candidate && from.addIceCandidate(candidate));
    const video = Object.assign(document.createElement('video'), { muted: true, autoplay: true });
    to.addEventListener('track', ({ streams: [stream] }) => (video.srcObject = stream));
    document.body.append(video);
    await from.setLocalDescription();
    await to.setRemoteDescription(from.localDescription);
    await to.setLocalDescription();
    await from.setRemoteDescription(to.localDescription);
    window.pc = to;
  },
};
