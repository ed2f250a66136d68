// One tab with the package in it: calls of its API from the test, with errors as the page saw them, and the ways a tab can end.
import { inTime, until } from './wait.mjs';

/** No call of a page takes longer. */
const callMs = 120_000;

/** An error that the page got. */
export class PageError extends Error {
  constructor({ name, code, message }) {
    super(message);
    this.name = name;
    this.code = code;
  }
}

export class Tab {
  /** What the page threw and nobody caught. */
  uncaught = [];
  /** Warnings and errors on its console. */
  console = [];

  static async at(page, url) {
    const tab = new Tab();
    tab.page = page;
    page.on('pageerror', (error) => tab.uncaught.push(String(error?.stack ?? error)));
    page.on('console', (message) => ['error', 'warning'].includes(message.type()) && tab.console.push(message.text()));
    tab.cdp = await page.context().newCDPSession(page);
    await page.goto(url);
    return tab;
  }

  /** Imports the package and opens the database as `window.db`. `from`: where the package lies. */
  async open(options, from = '/tidemark/index.js') {
    this.opened = [options, from];
    await this.run(async ([given, path]) => {
      const { Tidemark } = await import(path);
      window.Tidemark = Tidemark;
      window.db = await Tidemark.open(given);
    }, [options, from]);
    return this;
  }

  /** Calls a method of the database. */
  db(method, ...args) {
    return this.run(([name, given]) => window.db[name](...given), [method, args]);
  }

  /** Runs a function in the page; what it throws comes back as a `PageError` with its code. */
  async run(work, argument) {
    // A handle, not source for eval: pages with a strict content security policy are tested, too.
    const handle = await this.page.evaluateHandle(`(${work})`);
    const called = this.page.evaluate(async ([f, given]) => {
      try {
        return { value: await f(given) };
      } catch (error) {
        return { error: { name: error?.name, code: error?.code, message: String(error?.message ?? error) } };
      }
    }, [handle, argument]);
    const answer = await inTime(`the page's answer to ${work}`, called, callMs);
    if (answer.error) throw new PageError(answer.error);
    return answer.value;
  }

  /** Waits until `accept`, run in the page, gives something. Playwright's own waiting needs a tab that is in front. */
  async until(accept, argument, limitMs) {
    return until(String(accept), () => this.page.evaluate(accept, argument), limitMs);
  }

  /** Reloads the page, and opens the database again when it was open. */
  async reload() {
    await this.page.reload();
    if (this.opened) await this.open(...this.opened);
  }

  /** Waits until the status is as `accepts` (a function of it, run in the page) wants, and returns it. */
  async statusThat(accepts, limitMs) {
    const arrived = this.run((accept) => new Promise((resolve) => {
      window.lastStatus = undefined;
      const end = window.db.on('status', (status) => {
        window.lastStatus = status;
        if (!accept(status)) return;
        // The first call may come before `on` has returned.
        queueMicrotask(() => end());
        resolve(status);
      });
    }), await this.page.evaluateHandle(`(${accepts})`));
    arrived.catch(() => {});
    try {
      return await inTime(`status that ${accepts}`, arrived, limitMs);
    } catch (error) {
      const last = await this.page.evaluate(() => JSON.stringify(window.lastStatus)).catch(() => 'unknown');
      throw new Error(`${error.message}; the last status: ${last}`, { cause: error });
    }
  }

  /** Makes the page open without a network: its service worker has everything from here on. */
  async keepForOffline() {
    await this.run(async () => {
      await navigator.serviceWorker.register('/sw.js', { type: 'module' });
      await navigator.serviceWorker.ready;
    });
    await this.page.reload();
    const controlled = await this.run(() => navigator.serviceWorker.controller !== null);
    if (!controlled) throw new Error('the service worker does not control the page');
  }

  /** Crashes its process at once. */
  async crash() {
    const crashed = new Promise((resolve) => this.page.once('crash', resolve));
    this.cdp.send('Page.crash').catch(() => {});
    await inTime('the tab crashes', crashed);
  }

  /** Freezes the page as the browser does with tabs in the background. */
  async freeze() {
    await this.cdp.send('Page.setWebLifecycleState', { state: 'frozen' });
  }

  async thaw() {
    await this.cdp.send('Page.setWebLifecycleState', { state: 'active' });
  }

  async close() {
    await this.page.close();
  }
}
