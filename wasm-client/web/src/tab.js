/**
 * This tab: its identity, its worker, and the way to whoever owns the database.
 *
 * ```text
 *            ┌ own worker waits for the lock ┐          ┌ it has it: calls go by its port
 * opening ───┤                               ├─ hello ──┤
 *            └ some other tab's worker has it┘          └ calls go by the channel
 *
 * bye, opening, freeze: calls wait ── hello of the next owner: every unanswered call is said again, under its number
 * ```
 *
 * A page that is frozen or goes into the back/forward cache ends its worker in the event's handler: the browser then frees the lock and
 * the files, and nothing of this tab can write while it does not run. Thawed, it starts another worker. Nobody needs to take a lock away
 * from an owner, and the files themselves are the fence: their handles are exclusive, so a new owner opens them when the old one is gone.
 */

import { Calls } from './calls.js';
import { TidemarkError, fromFailure } from './errors.js';
import { fetchOptions } from './http.js';
import { isForeign, isOurs, namesOf, newId, sealed } from './protocol.js';

/** A call that is unanswered for so long is asked after. */
const NUDGE_MS = 3_000;
/** `open` gives up when nobody has the database open or opens it for so long. */
const OPEN_MS = 30_000;
/** How long `close` waits for answers, and then for the worker to close the database. */
const CLOSE_MS = 2_000;
/** Waits before a worker that died is replaced; the last one is for every further time. */
const RESTART_MS = [0, 100, 1_000, 5_000, 30_000];
/** A worker that lived so long was well. */
const WELL_MS = 60_000;

/**
 * @typedef {import('./protocol.js').Start} Start
 * @typedef {import('./protocol.js').Failure} Failure
 * @typedef {Omit<import('./index.js').Status, 'role'>} OwnersStatus
 * @typedef {object} Listener
 * @property {(tables: string[]) => void} changed tables a commit changed, or may have changed while nobody told
 * @property {(status: OwnersStatus | undefined) => void} status the status changed, or this tab's role
 */

export class Tab {
  /** @type {string | undefined} this tab's name for the owner; undefined while it is in the back/forward cache with nothing to ask */
  #id;
  #names;
  /** @type {(() => void) | undefined} */
  #releaseLock;
  /** @type {BroadcastChannel[]} */
  #channels = [];
  /** @type {Worker | undefined} */
  #worker;
  #workerSince = 0;
  #deaths = 0;
  /** @type {{ epoch: string, own: boolean } | undefined} */
  #owner;
  /** @type {OwnersStatus | undefined} */
  #status;
  /** @type {import('./protocol.js').Request | null} */
  #farewell = null;
  /** @type {'opening' | 'live' | 'suspended' | 'closing' | 'closed'} */
  #state = 'opening';
  /** @type {((error: TidemarkError) => void) | undefined} while opening */
  #cannotOpen;
  #signOfLife = 0;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #restart;
  #start;
  #listener;
  #calls = new Calls((calls, doneUpTo) => this.#toOwner({ t: 'calls', tab: this.#id, doneUpTo, calls }));

  /**
   * @param {Omit<Start, 't' | 'solo' | 'channel'>} start
   * @param {Listener} listener
   */
  constructor(start, listener) {
    // Without locks (no secure context) there is no lasting storage either, and every tab has a database of its own in memory.
    const solo = !globalThis.navigator?.locks;
    const channel = solo ? `${start.name}:${newId()}` : start.name;
    this.#start = { t: 'start', ...start, solo, channel };
    this.#names = namesOf(channel);
    this.#listener = listener;
  }

  /** @returns {'owner' | 'guest' | 'waiting'} */
  get role() {
    if (!this.#owner) return 'waiting';
    return this.#owner.own ? 'owner' : 'guest';
  }

  /** Nobody has the database just now, and somebody will. */
  get isWaiting() {
    return !this.#owner && !this.#isOver;
  }

  get #isOver() {
    return this.#state === 'closing' || this.#state === 'closed';
  }

  /** What the owner said last. */
  get lastStatus() {
    return this.#status;
  }

  /** Resolves when somebody has the database open and takes this tab's calls. */
  async open() {
    /** @type {Promise<never>} */
    const failed = new Promise((_, reject) => { this.#cannotOpen = reject; });
    failed.catch(() => {});
    this.#signOfLife = performance.now();
    this.#timer = setInterval(() => this.#tick(), NUDGE_MS);
    try {
      await this.#appear();
      this.#startWorker();
      await Promise.race([failed, this.call('open', [{ schema: this.#start.schema }])]);
    } catch (error) {
      this.#end(new TidemarkError('closed', 'the database could not be opened'));
      throw error;
    }
    this.#cannotOpen = undefined;
    if (this.#state === 'opening') this.#state = 'live';
    this.#worker?.postMessage(sealed({ t: 'live' }));
  }

  /**
   * @param {string} what
   * @param {any[]} args
   * @param {number} [tx]
   */
  call(what, args, tx) {
    if (this.#isOver) return Promise.reject(new TidemarkError('closed', `${what}: this database was closed with close(); open it again`));
    return this.#calls.call(what, args, tx);
  }

  /** @param {import('./protocol.js').Hint['what']} what */
  hint(what) {
    this.#toOwner({ t: 'hint', what });
  }

  /** Takes a name and shows that this tab lives. */
  async #appear() {
    const id = newId();
    if (!this.#start.solo) {
      await new Promise((/** @type {(value?: unknown) => void} */ held, reject) => {
        navigator.locks.request(this.#names.tabLock(id), () => new Promise((/** @type {(value?: unknown) => void} */ release) => {
          this.#releaseLock = release;
          held();
        })).catch(reject);
      });
    }
    this.#id = id;
    const all = new BroadcastChannel(this.#names.channel);
    const mine = new BroadcastChannel(this.#names.tabChannel(id));
    const owners = new BroadcastChannel(this.#names.ownerChannel);
    all.onmessage = mine.onmessage = ({ data }) => this.#onChannel(data);
    this.#channels = [all, mine, owners];
  }

  #disappear() {
    for (const channel of this.#channels) channel.close();
    this.#channels = [];
    this.#releaseLock?.();
    this.#releaseLock = undefined;
    this.#id = undefined;
  }

  #startWorker() {
    clearTimeout(this.#restart);
    this.#workerSince = performance.now();
    /** @type {Worker} */
    let worker;
    try {
      worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: `tidemark ${this.#start.name}` });
    } catch (error) {
      this.#onDied({ code: 'load', message: `the worker cannot be started: ${error instanceof Error ? error.message : error}; ${LOAD_HELP}` });
      return;
    }
    this.#worker = worker;
    worker.onmessage = ({ data }) => { if (this.#worker === worker) this.#onWorker(data); };
    worker.onerror = (event) => {
      event.preventDefault();
      if (this.#worker !== worker) return;
      // A script that cannot be loaded says nothing about why.
      const words = event.message ? `the worker failed: ${event.message}` : 'the worker could not be loaded';
      this.#onDied({ code: event.message ? 'bug' : 'load', message: `${words}; ${LOAD_HELP}` });
    };
    worker.postMessage(sealed(this.#start));
    if (this.#state !== 'opening') worker.postMessage(sealed({ t: 'live' }));
    this.#channels[0]?.postMessage(sealed({ t: 'who' }));
  }

  #stopWorker() {
    clearTimeout(this.#restart);
    this.#worker?.terminate();
    this.#worker = undefined;
    this.#farewell = null;
  }

  /** @param {any} data */
  #onWorker(data) {
    if (!isOurs(data)) return;
    switch (data.t) {
      case 'loaded':
      case 'opening':
        this.#signOfLife = performance.now();
        break;
      case 'farewell':
        this.#farewell = data.request;
        break;
      case 'failed':
      case 'died':
        this.#onDied(data.error);
        break;
      default:
        this.#onOwner(data, true);
    }
  }

  /** @param {any} data */
  #onChannel(data) {
    if (isForeign(data)) {
      this.#cannotOpen?.(new TidemarkError('newer', `another tab has the database "${this.#start.name}" open with another version of this page; reload or close all its tabs`));
      return;
    }
    if (!isOurs(data)) return;
    if (data.t === 'opening') {
      this.#signOfLife = performance.now();
      if (data.epoch !== this.#owner?.epoch) this.#lose();
    } else if (!(this.#owner?.own && (data.t === 'change' || data.t === 'status'))) {
      // Our own worker says these on its port, too.
      this.#onOwner(data, false);
    }
  }

  /**
   * @param {any} data
   * @param {boolean} own it is our own worker's
   */
  #onOwner(data, own) {
    if (data.t === 'hello') {
      this.#signOfLife = performance.now();
      if (this.#owner?.epoch !== data.epoch) this.#welcome(data, own);
      else if (own && this.#owner) this.#owner.own = true;
      return;
    }
    if (data.epoch === undefined || data.epoch !== this.#owner?.epoch) return;
    switch (data.t) {
      case 'answers':
        this.#calls.answered(data.answers);
        break;
      case 'unknown':
        this.#calls.again(data.calls);
        break;
      case 'change':
        this.#listener.changed(data.tables);
        break;
      case 'status':
        this.#status = data.status;
        this.#listener.status(data.status);
        break;
      case 'bye':
        this.#lose();
        break;
      default:
    }
  }

  /**
   * @param {import('./protocol.js').Hello} hello
   * @param {boolean} own
   */
  #welcome({ epoch, tables }, own) {
    if (this.#state === 'suspended' || this.#state === 'closed') return;
    this.#owner = { epoch, own };
    this.#calls.owned();
    // The owner before may have committed and not lived to say so.
    this.#listener.changed(tables);
    this.#listener.status(this.#status);
  }

  #lose() {
    if (!this.#owner) return;
    this.#owner = undefined;
    this.#calls.lost();
    this.#listener.status(this.#status);
  }

  /** @param {object} message */
  #toOwner(message) {
    if (this.#owner?.own) this.#worker?.postMessage(sealed(message));
    else if (this.#owner) this.#channels[2]?.postMessage(sealed(message));
  }

  /**
   * Our worker could not open the database, or failed. Another one tries again later; other tabs may be luckier meanwhile.
   * @param {Failure} failure
   */
  #onDied(failure) {
    this.#stopWorker();
    if (this.#owner?.own) this.#lose();
    if (this.#state === 'suspended' || this.#state === 'closed') return;
    const error = fromFailure(failure);
    if (this.#cannotOpen && (this.#deaths > 0 || failure.code !== 'bug')) {
      this.#cannotOpen(error);
      return;
    }
    if (performance.now() - this.#workerSince > WELL_MS) this.#deaths = 0;
    // Once may be bad luck, and is mended by saying the calls again. Nobody may wait for ever.
    if (!this.#owner && (this.#deaths > 0 || failure.code !== 'bug')) this.#calls.failAll(error);
    this.#restart = setTimeout(() => this.#startWorker(), RESTART_MS[Math.min(this.#deaths, RESTART_MS.length - 1)]);
    this.#deaths += 1;
  }

  /** Level-triggered: whatever was missed is asked for. */
  #tick() {
    if (this.#state === 'opening' && performance.now() - this.#signOfLife > OPEN_MS) {
      this.#cannotOpen?.(new TidemarkError('busy', `another tab of this site has the database "${this.#start.name}" and does not answer; close or reload it`));
    }
    const calls = this.#calls.olderThan(NUDGE_MS);
    if (this.#owner && calls.length > 0) this.#toOwner({ t: 'nudge', tab: this.#id, calls });
    if (!this.#owner || calls.length > 0) this.#channels[0]?.postMessage(sealed({ t: 'who' }));
  }

  /** The page goes away, perhaps for good: what our worker was about to send is sent by the browser, which outlives the page. */
  leave() {
    const request = this.#farewell;
    this.#farewell = null;
    if (!request) return;
    // Whether it arrives is seen when the log is sent from the next time.
    fetch(request.url, { ...fetchOptions(request), keepalive: true }).catch(() => {});
  }

  /**
   * The page will not run for a while: gives up lock and files at once.
   * @param {boolean} away into the back/forward cache, where a page that holds a lock may not go
   */
  suspend(away) {
    if (this.#state === 'closed') return;
    this.leave();
    this.#stopWorker();
    this.#lose();
    if (this.#state === 'live') this.#state = 'suspended';
    // A tab that has nothing to ask may be forgotten, and comes back under another name. One that has keeps its lock, and is not.
    if (away && this.#state === 'suspended' && this.#calls.open === 0) this.#disappear();
  }

  async resume() {
    if (this.#state === 'opening' && !this.#worker && this.#id) this.#startWorker();
    if (this.#state !== 'suspended') return;
    this.#state = 'live';
    this.#deaths = 0;
    if (!this.#id) await this.#appear();
    if (this.#state === 'live' && !this.#worker) this.#startWorker();
  }

  /** Ends this tab's part, once what it asked for is done. */
  async close() {
    if (this.#isOver) return;
    this.#state = 'closing';
    await Promise.race([this.#calls.idle(), new Promise((late) => { setTimeout(late, CLOSE_MS); })]);
    const worker = this.#worker;
    if (worker) {
      await new Promise((/** @type {(value?: unknown) => void} */ closed) => {
        const timer = setTimeout(closed, CLOSE_MS);
        worker.addEventListener('message', ({ data }) => {
          if (!isOurs(data) || data.t !== 'closed') return;
          clearTimeout(timer);
          closed();
        });
        worker.postMessage(sealed({ t: 'close' }));
      });
    }
    this.#end(new TidemarkError('closed', 'the database was closed with close() before this was answered'));
  }

  /** @param {TidemarkError} error */
  #end(error) {
    this.#state = 'closed';
    clearInterval(this.#timer);
    this.#stopWorker();
    this.#owner = undefined;
    this.#calls.lost();
    this.#calls.failAll(error);
    this.#disappear();
  }
}

const LOAD_HELP = 'worker.js, tidemark_wasm.js and tidemark_wasm_bg.wasm must lie beside index.js, and a Content-Security-Policy must allow '
  + "worker-src 'self' and script-src 'wasm-unsafe-eval'";
