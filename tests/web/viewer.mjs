// A viewer for the tests: a page with the player on it, and what one asks of it.

import assert from 'node:assert/strict';

/** Opens a page, and collects what went wrong on it: exceptions, and breaches of the content security policy. `delay`: HLS
 *  unless real time is asked for. */
export async function open(browser, address, delay = 'low') {
  const page = await browser.newPage();
  const url = new URL(address);
  if (/\/(watch|embed)\//.test(url.pathname)) url.searchParams.set('delay', delay);
  page.setDefaultTimeout(PATIENCE_MS);
  const wrong = [];
  page.on('pageerror', (error) => wrong.push(String(error)));
  page.on('console', (message) => message.text().includes('Content Security Policy') && wrong.push(message.text()));
  await page.goto(url.href);
  return new Viewer(page, wrong);
}

class Viewer {
  constructor(page, wrong) {
    this.page = page;
    this.wrong = wrong;
  }

  /** Waits for a state of the player and fails with the last one seen. */
  async until(state, timeout = PATIENCE_MS) {
    try {
      await this.page.waitForFunction((wanted) => window.headwater.state === wanted, state, { timeout });
    } catch {
      assert.fail(`waited for "${state}", and the player is ${JSON.stringify(await this.snapshot())}`);
    }
  }

  snapshot() {
    return this.page.evaluate(() => window.headwater.snapshot);
  }

  /** Waits until a condition on the snapshot holds. Looked at from here: the page's policy forbids code made from text. */
  async when(condition, what) {
    const deadline = Date.now() + PATIENCE_MS;
    let seen = await this.snapshot();
    while (!condition(seen)) {
      if (Date.now() > deadline) assert.fail(`waited until ${what}, and the player is ${JSON.stringify(seen)}`);
      await this.page.waitForTimeout(100);
      seen = await this.snapshot();
    }
  }

  /** Waits until an element is seen with a text: the page paints ten times a second. */
  async shows(selector, words) {
    await this.page.locator(selector, { hasText: words }).waitFor();
  }

  /** New pictures come, and they differ; sound is decoded. */
  async moves() {
    const look = () =>
      this.page.evaluate(() => {
        const { video } = window.headwater;
        const canvas = new OffscreenCanvas(64, 36);
        const pen = canvas.getContext('2d');
        pen.drawImage(video, 0, 0, 64, 36);
        const pixels = [...pen.getImageData(0, 0, 64, 36).data];
        return { frames: video.getVideoPlaybackQuality().totalVideoFrames, sound: video.webkitAudioDecodedByteCount, pixels };
      });
    const first = await look();
    await this.page.waitForFunction(
      ([frames, sound]) => {
        const { video } = window.headwater;
        return video.getVideoPlaybackQuality().totalVideoFrames > frames + 15 && video.webkitAudioDecodedByteCount > sound;
      },
      [first.frames, first.sound],
    );
    const second = await look();
    assert.notDeepEqual(second.pixels, first.pixels, 'the picture stands still');
  }

  async close() {
    await this.page.close();
    assert.deepEqual(this.wrong, []);
  }
}

/** Long enough for a busy machine to encode, package, fetch and decode; every wait ends with its event. */
const PATIENCE_MS = 40_000;
