// A person's browser: a real Chromium with a profile folder that outlives it. Closing it and coming back is real, and so is killing it.
// It is started by this file and not by Playwright, which would make every tab believe that it is in front for ever: no tab could be frozen.
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium as playwright } from 'playwright-core';
import { Child } from './child.mjs';
import { chromium } from './paths.mjs';
import { Tab } from './tab.mjs';
import { inTime, until } from './wait.mjs';

const flags = [
  '--headless', '--disable-gpu', '--disable-quic', '--no-first-run', '--no-default-browser-check', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-default-apps', '--password-store=basic', '--use-mock-keychain',
  '--window-size=1280,800', '--remote-debugging-port=0',
];
// Chromium's sandbox does not work for root, as whom continuous integration often runs.
if (process.getuid?.() === 0) flags.push('--no-sandbox');

export class Profile {
  #child;
  #browser;
  #flags;

  /** `flags` are added to the command line; `lang` is the browser's language. */
  static async start({ flags: more = [], lang = 'en-US' } = {}) {
    const profile = new Profile();
    profile.#flags = [...flags, `--lang=${lang}`, `--accept-lang=${lang}`, ...more];
    profile.folder = await mkdtemp(join(tmpdir(), 'tidemark-profile-'));
    await profile.come();
    return profile;
  }

  /** Starts the browser (again) on this profile. */
  async come() {
    // Chromium itself has crashed at its start, before it had seen a page.
    const endpoint = await this.#listens().catch(async (error) => {
      console.error(`Chromium is started once more: ${error.message}`);
      await this.#child.kill();
      return this.#listens();
    });
    this.#browser = await playwright.connectOverCDP(endpoint, { noDefaults: true, timeout: 60_000 });
    [this.context] = this.#browser.contexts();
    this.context.setDefaultTimeout(30_000);
    this.cdp = await this.#browser.newBrowserCDPSession();
  }

  /** Starts Chromium; where it listens. */
  async #listens() {
    this.#child = new Child(chromium(), [...this.#flags, `--user-data-dir=${this.folder}`, 'about:blank']);
    const [, endpoint] = await this.#child.says(/DevTools listening on (ws:\S+)/, 60_000);
    return endpoint;
  }

  /** A new tab at `url`, in front of the others. `options` go to Tidemark.open there; without them nothing is opened. */
  async tab(url, options) {
    const tab = await Tab.at(await this.context.newPage(), url);
    if (options) await tab.open(options);
    return tab;
  }

  /** Closes the browser as a person does. */
  async leave() {
    await this.cdp.send('Browser.close').catch(() => {});
    await inTime('the browser closes', this.#child.ended);
  }

  /** Kills the browser's processes with SIGKILL, as when the power fails. */
  async kill() {
    const { processInfo } = await this.cdp.send('SystemInfo.getProcessInfo');
    const pids = processInfo.map(({ id }) => id);
    for (const pid of pids) killNow(pid);
    await inTime('the killed browser is gone', this.#child.ended);
    await until('the browser lets go of its profile', () => !pids.some(isAlive));
  }

  async close() {
    await this.#child.kill();
    await rm(this.folder, { recursive: true, force: true, maxRetries: 50, retryDelay: 50 });
  }
}

function killNow(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

function isAlive(pid) {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
