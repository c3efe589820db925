// The real server and real publishers for tests and measurements: started on free ports of the loopback, and ended by id.
//
// HEADWATER_HTTP and HEADWATER_RTMP name a running server instead; HEADWATER names the program (default target/debug).

import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** `{ http, rtmp, admin, data, log(), close() }`. Extra arguments go to the program. */
export async function serve(...extra) {
  const { HEADWATER_HTTP: http, HEADWATER_RTMP: rtmp } = process.env;
  if (http && rtmp) return { http: http.replace(/\/$/, ''), rtmp: rtmp.replace(/\/$/, ''), log: () => '', close: async () => {} };
  const program = process.env.HEADWATER ?? join(ROOT, 'target/debug/headwater');
  const folder = await mkdtemp(join(tmpdir(), 'headwater-web-'));
  const free = '127.0.0.1:0';
  const media = extra.includes('--webrtc-listen') ? [] : ['--webrtc-listen', '0.0.0.0:0'];
  const listen = ['--http-listen', free, '--rtmp-listen', free, '--admin-listen', free, ...media];
  const child = spawn(program, [...listen, '--data-dir', folder, ...extra], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  const close = async () => {
    await stop(child);
    await rm(folder, { recursive: true, force: true });
  };
  const found = {};
  let log = '';
  const ready = new Promise((resolve, reject) => {
    const read = (chunk) => {
      log = (log + chunk).slice(-LOG_BYTES);
      for (const [, kind, url] of log.matchAll(/\b(http|rtmp|admin) listening on ((?:http|rtmp):\/\/[^\s"]+)/g)) found[kind] = url.replace(/\/$/, '');
      if (found.http && found.rtmp && found.admin) resolve();
    };
    child.stdout.setEncoding('utf8').on('data', read);
    child.stderr.setEncoding('utf8').on('data', read);
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`${program} ended with ${code}:\n${log}`)));
  });
  const deadline = timer(10_000, () => new Error(`${program} did not say where it listens:\n${log}`));
  try {
    await Promise.race([ready, deadline.failed]);
  } catch (error) {
    await close();
    throw error;
  } finally {
    deadline.clear();
  }
  return { http: found.http, rtmp: found.rtmp, admin: found.admin, data: folder, log: () => log, close };
}

/** An ffmpeg that publishes a moving picture and a tone. `kill()` pulls its cable, `stop()` says goodbye first. */
export function publish(server, name, { size = '640x360', rate = 30 } = {}) {
  const child = spawn('ffmpeg', [
    ...['-hide_banner', '-loglevel', 'error', '-nostdin'],
    ...['-re', '-f', 'lavfi', '-i', `testsrc2=size=${size}:rate=${rate}`, '-re', '-f', 'lavfi', '-i', 'sine=frequency=440:sample_rate=48000'],
    ...['-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-profile:v', 'main', '-pix_fmt', 'yuv420p'],
    ...['-g', String(rate * 2), '-b:v', '1000k', '-maxrate', '1000k', '-bufsize', '500k'],
    ...['-c:a', 'aac', '-b:a', '96k', '-f', 'flv', `${address(server, name)}`],
  ], { stdio: ['ignore', 'ignore', 'ignore'] });
  return { kill: () => stop(child, 'SIGKILL'), stop: () => stop(child, 'SIGINT') };
}

/** Where to push to: the start-up line may or may not name the application. */
export function address(server, name) {
  const base = /^rtmp:\/\/[^/]+$/.test(server.rtmp) ? `${server.rtmp}/live` : server.rtmp;
  return `${base}/${name}`;
}

/** Signals a child and waits until it is gone; after five seconds it is killed. */
export async function stop(child, signal = 'SIGTERM') {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  const late = setTimeout(() => child.kill('SIGKILL'), 5_000);
  await gone;
  clearTimeout(late);
}

function timer(ms, error) {
  let id;
  const failed = new Promise((_, reject) => {
    id = setTimeout(() => reject(error()), ms);
  });
  return { failed, clear: () => clearTimeout(id) };
}

/** The last of a server's words that are kept for an error message. */
const LOG_BYTES = 64 * 1024;
