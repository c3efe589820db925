// Chromium as the tests and the measurements use it: headless, a fresh profile, no talk to the outside.

import { chromium } from 'playwright-core';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required',
  // Cameras, microphones and screens that are not there, and nobody to ask for them.
  '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream', '--auto-select-desktop-capture-source=Entire screen',
];

/** A browser context on its own profile; `close()` removes the profile. Options are Playwright's. */
export async function browse(options = {}) {
  const profile = await mkdtemp(join(tmpdir(), 'headwater-chromium-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.HEADWATER_CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: FLAGS,
    viewport: { width: 1280, height: 800 },
    ...options,
  });
  const close = async () => {
    await context.close();
    await rm(profile, { recursive: true, force: true });
  };
  return { context, close, newPage: () => context.newPage() };
}
