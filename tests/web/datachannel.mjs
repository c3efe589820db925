// A WHIP publisher on libdatachannel, the stack of OBS 30 and later, with the offer that OBS makes: one SSRC for pictures and
// one for sound, H.264 and Opus, requests for lost packets, no answer to requests for key frames. ffmpeg makes the packets.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import dgram from 'node:dgram';
import { once } from 'node:events';
import nodeDataChannel from 'node-datachannel';
import { stop } from './server.mjs';

const [AUDIO, VIDEO] = [{ type: 111, ssrc: 1_111 }, { type: 96, ssrc: 2_222 }];

/** `{ stop() }` once it is connected. `lose(count)`: which of its RTP packets of pictures never leave. */
export async function publishByWhip(server, name, { lose = () => false } = {}) {
  const connection = new nodeDataChannel.PeerConnection(name, { iceServers: [] });
  const audio = new nodeDataChannel.Audio('0', 'SendOnly');
  audio.addOpusCodec(AUDIO.type);
  audio.addSSRC(AUDIO.ssrc, 'obs', 'obs', 'obs-audio');
  const video = new nodeDataChannel.Video('1', 'SendOnly');
  video.addH264Codec(VIDEO.type, 'profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1');
  video.addSSRC(VIDEO.ssrc, 'obs', 'obs', 'obs-video');
  const tracks = [connection.addTrack(audio), connection.addTrack(video)];
  const gathered = new Promise((resolve) => connection.onGatheringStateChange((state) => state === 'complete' && resolve()));
  const connected = new Promise((resolve) => connection.onStateChange((state) => state === 'connected' && resolve()));
  connection.setLocalDescription('offer');
  await gathered;
  const response = await fetch(`${server.http}/whip/${name}`, {
    method: 'POST',
    headers: { 'content-type': 'application/sdp' },
    body: connection.localDescription().sdp,
  });
  assert.equal(response.status, 201);
  const session = `${server.http}${response.headers.get('location')}`;
  connection.setRemoteDescription(await response.text(), 'answer');
  await connected;
  let count = 0;
  const [sound, pictures] = await Promise.all([
    receive((packet) => forward(tracks[0], AUDIO, packet)),
    receive((packet) => !lose((count += 1)) && forward(tracks[1], VIDEO, packet)),
  ]);
  const child = spawn('ffmpeg', [
    ...['-hide_banner', '-loglevel', 'error', '-nostdin'],
    ...['-re', '-f', 'lavfi', '-i', 'testsrc2=size=640x360:rate=30', '-re', '-f', 'lavfi', '-i', 'sine=frequency=440:sample_rate=48000'],
    ...['-map', '0:v', '-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-profile:v', 'baseline'],
    ...['-g', '60', '-b:v', '1000k', '-f', 'rtp', `rtp://127.0.0.1:${pictures.address().port}?pkt_size=1200`],
    ...['-map', '1:a', '-c:a', 'libopus', '-f', 'rtp', `rtp://127.0.0.1:${sound.address().port}`],
  ], { stdio: 'ignore' });
  return {
    stop: async () => {
      const answer = await fetch(session, { method: 'DELETE' });
      await stop(child, 'SIGKILL');
      sound.close();
      pictures.close();
      connection.close();
      assert.equal(answer.status, 200);
    },
  };
}

async function receive(take) {
  const socket = dgram.createSocket('udp4');
  socket.on('message', take);
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return socket;
}

/** An RTP packet of ffmpeg's, under the numbers of the offer; its RTCP is left to libdatachannel. */
function forward(track, { type, ssrc }, packet) {
  if (packet[1] >= 192 && packet[1] < 224) return;
  packet.writeUInt32BE(ssrc, 8);
  packet[1] = (packet[1] & 0x80) | type;
  if (track.isOpen()) track.sendMessageBinary(packet);
}
