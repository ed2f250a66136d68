/**
 * The push loop: asks the engine what to do, does it, tells it what came of it.
 *
 * Level-triggered: every round asks the engine, which looks at the log itself. Hints (online, visible, a commit) only make it ask sooner, so
 * that none of them is needed. One request is on its way at a time.
 */

import { TidemarkError, isExpected } from './errors.js';

/** Times are looked at again this often: clocks are set, devices sleep. */
const LOOK_MS = 60_000;
/** Waits after the database refused, a full disk for example. */
const TROUBLE_MS = { first: 5_000, max: 60_000 };
/** People who switch between tabs shall not hammer a server. */
const HINT_MS = 2_000;
/** Browsers take 64 KiB of a page that goes away, headers included. */
export const FAREWELL_BYTES_MAX = 60_000;
/** What to send at a farewell is prepared this often at most: each time is a commit. */
const FAREWELL_MS = 1_000;

/**
 * @typedef {import('./core.js').Core} Core
 * @typedef {import('./core.js').Action} Action
 * @typedef {import('./core.js').Event} CoreEvent
 * @typedef {import('./protocol.js').Request} Request
 * @typedef {import('./index.js').Pushed} Pushed
 * @typedef {NonNullable<import('./index.js').Status['sync']['lastError']>} LastError
 * @typedef {import('./index.js').FailureKind} FailureKind
 * @typedef {{ now: () => number, setTimeout: typeof setTimeout, clearTimeout: typeof clearTimeout }} Clock
 *
 * @typedef {object} World
 * @property {<R>(work: (core: Core) => R) => Promise<R>} turn works at the database when no transaction is open
 * @property {(request: Request) => ReturnType<typeof import('./http.js').exchange>} exchange
 * @property {() => void} changed the state is another one
 * @property {(request: Request | null) => void} farewell what the page sends when it goes away
 * @property {(error: unknown) => void} broken
 * @property {boolean} manual
 * @property {() => Promise<number | null>} [freeDisk] free room, in bytes, as far as it is known
 * @property {() => boolean} isOnline
 * @property {Clock} clock
 *
 * @typedef {object} Push somebody waits for
 * @property {number} upTo last change it is about
 * @property {number} after a failure of a request before this one is not its own
 * @property {number} changes
 * @property {number} rejected
 * @property {(pushed: Pushed) => void} resolve
 * @property {(error: unknown) => void} reject
 */

export class Sync {
  /** @type {{ state: 'idle' | 'sending' | 'waiting' | 'stopped', retryAt: number | null, stop: Pushed['stop'], error: LastError | null }} */
  #state = { state: 'idle', retryAt: null, stop: null, error: null };
  #running = false;
  #again = false;
  #ended = false;
  /** Something was committed since capture was checked. */
  #committed = true;
  /** And since a farewell was prepared, or what was prepared was sent. */
  #grown = true;
  #sent = 0;
  #troubles = 0;
  /** @type {FailureKind | null} how the last request failed; null when it did not, or nobody has asked yet */
  #failed = null;
  #hintAt = Number.NEGATIVE_INFINITY;
  #farewellAt = Number.NEGATIVE_INFINITY;
  /** @type {Push[]} */
  #pushes = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #world;

  /** @param {World} world */
  constructor(world) {
    this.#world = world;
  }

  start() {
    this.#with((core) => {
      core.resume();
      if (!this.#world.isOnline()) core.offline();
    });
  }

  /** Something was committed. */
  committed() {
    this.#committed = true;
    this.#grown = true;
    this.poke();
  }

  /** There may be something to do. */
  poke() {
    if (this.#running) this.#again = true;
    else this.#run();
  }

  /** @param {import('./protocol.js').Hint['what']} what */
  hint(what) {
    if (what === 'offline') {
      this.#with((core) => core.offline());
      return;
    }
    const { now } = this.#world.clock;
    if (what !== 'online') {
      if (Math.abs(now() - this.#hintAt) < HINT_MS) return;
      this.#hintAt = now();
    }
    this.#with((core) => this.#wake(core, what !== 'hidden'));
  }

  /**
   * Ends a wait; a stop, too, if it may have passed.
   * @param {Core} core
   * @param {boolean} stopped
   */
  #wake(core, stopped) {
    core.online();
    if (!this.#world.isOnline()) core.offline();
    if (stopped && this.#state.state === 'stopped') core.resume();
  }

  /** @param {(core: Core) => void} work */
  #with(work) {
    this.#world.turn(work).then(() => this.poke(), (error) => this.#trouble(error));
  }

  /**
   * For `status()`.
   * @param {number} pending
   */
  snapshot(pending) {
    const { state, retryAt, stop, error } = this.#state;
    const failed = this.#failed;
    if (this.#world.manual && pending > 0 && state === 'idle') return { state: /** @type {const} */ ('off'), retryAt: null, stop: null, error, failed };
    return { state, retryAt, stop, error, failed };
  }

  /**
   * Pushes what is in the log now.
   * @returns {Promise<Pushed>}
   */
  async push() {
    const upTo = await this.#world.turn((core) => {
      core.resume();
      this.#wake(core, false);
      return core.status().lastSeq;
    });
    return new Promise((resolve, reject) => {
      if (this.#ended) {
        reject(new TidemarkError('closed', 'the database was closed'));
        return;
      }
      this.#pushes.push({ upTo, after: this.#sent, changes: 0, rejected: 0, resolve, reject });
      this.poke();
    });
  }

  async #run() {
    this.#running = true;
    this.#world.clock.clearTimeout(/** @type {any} */ (this.#timer));
    try {
      do {
        this.#again = false;
        while (await this.#step());
      } while (this.#again && !this.#ended);
    } catch (error) {
      this.#trouble(error);
    }
    this.#running = false;
    if (this.#again && !this.#ended) this.poke();
  }

  /** @returns {Promise<boolean>} whether to ask at once again */
  async #step() {
    const { turn, clock, manual } = this.#world;
    if (this.#ended) return false;
    if (this.#committed) {
      this.#committed = false;
      const repaired = await turn((core) => core.checkCapture());
      for (const words of repaired) console.warn(`tidemark: ${words}`);
    }
    if (manual && this.#pushes.length === 0) {
      return false;
    }
    // The first report has it, too: the next comes minutes later, and the page may be closed by then.
    const free = (await this.#world.freeDisk?.()) ?? null;
    if (this.#ended) return false;
    const action = await turn((core) => {
      if (free !== null) core.noteFreeDisk(free);
      return core.next(clock.now());
    });
    if (this.#ended) return false;
    switch (action.do) {
      case 'send':
        await this.#send(action);
        return !this.#ended;
      case 'wait':
        this.#settle('unreachable', 'the server was not reached');
        if (manual) {
          this.#become({ state: 'idle' });
        } else {
          this.#become({ state: 'waiting', retryAt: action.untilMs });
          this.#wakeIn(action.untilMs - clock.now());
          await this.#prepareFarewell();
        }
        return false;
      case 'idle':
        this.#become({ state: 'idle' });
        this.#world.farewell(null);
        this.#settle('done', null);
        // The engine asks the server now and then what became of rejects, and tells it how the station fares.
        if (!manual) this.#wakeIn(LOOK_MS);
        return false;
      default: {
        const stop = { kind: action.kind, message: action.message };
        this.#become({ state: 'stopped', stop });
        this.#world.farewell(null);
        this.#settle('stopped', action.message, stop);
        if (action.restMs !== null && !manual) this.#retryStopped(action.restMs);
        return false;
      }
    }
  }

  /** @param {Extract<Action, { do: 'send' }>} request */
  async #send(request) {
    const { turn, exchange, clock, farewell } = this.#world;
    this.#sent += 1;
    this.#become({ state: 'sending' });
    // A page that closes now takes this request with it; it may send the same once more, which does the same. A question carries nothing: what
    // was to be sent before it still is.
    if (request.method === 'POST') farewell(request.body.length <= FAREWELL_BYTES_MAX ? request : null);
    const outcome = await exchange(request);
    if (this.#ended) return;
    this.#grown = true;
    const event = await turn((core) => {
      if ('failure' in outcome) return core.onFailure(clock.now(), request.id, outcome.failure.kind, outcome.failure.message);
      const { status, retryAfter, body } = outcome.reply;
      return core.onReply(clock.now(), request.id, status, retryAfter, body);
    });
    this.#troubles = 0;
    this.#failed = event.event === 'failed' ? kindOf(outcome) : null;
    await this.#onEvent(event);
  }

  /** @param {CoreEvent} event */
  async #onEvent(event) {
    switch (event.event) {
      case 'acked':
        for (const push of this.#pushes) {
          push.changes += event.changes;
          push.rejected += event.rejectedHere + event.rejectedByServer;
        }
        this.#settle('done', null, null, ({ upTo }) => upTo <= event.tidemark);
        this.#world.changed();
        break;
      case 'settled':
        this.#world.changed();
        break;
      case 'failed':
        this.#settle('unreachable', event.message, null, ({ after }) => after < this.#sent);
        // Somebody asked while this request was on its way: he gets one of his own.
        if (this.#pushes.length > 0) await this.#world.turn((core) => this.#wake(core, false));
        break;
      default:
    }
  }

  /** The request that is sent when the page goes away while the engine waits. */
  async #prepareFarewell() {
    const { turn, clock, farewell } = this.#world;
    if (!this.#grown) return;
    if (Math.abs(clock.now() - this.#farewellAt) < FAREWELL_MS) {
      this.#wakeIn(FAREWELL_MS);
      return;
    }
    this.#grown = false;
    this.#farewellAt = clock.now();
    farewell(await turn((core) => core.farewell(clock.now(), FAREWELL_BYTES_MAX)) ?? null);
  }

  /** @param {number} restMs how soon a stop that time may heal is tried again */
  #retryStopped(restMs) {
    const { clock } = this.#world;
    this.#timer = clock.setTimeout(() => this.#with((core) => core.resume()), restMs);
  }

  /** @param {number} ms */
  #wakeIn(ms) {
    const { clock } = this.#world;
    clock.clearTimeout(/** @type {any} */ (this.#timer));
    this.#timer = clock.setTimeout(() => this.poke(), Math.min(Math.max(ms, 0), LOOK_MS));
  }

  /**
   * The database refused. It may be full: tried again.
   * @param {unknown} error
   */
  #trouble(error) {
    if (this.#ended) return;
    if (!isExpected(error)) {
      this.#world.broken(error);
      return;
    }
    const { clock } = this.#world;
    const wait = Math.min(TROUBLE_MS.first * 2 ** this.#troubles, TROUBLE_MS.max);
    this.#troubles += 1;
    this.#become({ state: 'waiting', retryAt: clock.now() + wait, error: { message: error.message, at: clock.now(), kind: 'storage' } });
    this.#wakeIn(wait);
    for (const { reject } of this.#pushes.splice(0)) reject(error);
  }

  /**
   * @param {Pushed['outcome']} outcome
   * @param {string | null} message
   * @param {Pushed['stop']} [stop]
   * @param {(push: Push) => boolean} [which]
   */
  #settle(outcome, message, stop = null, which = () => true) {
    const settled = this.#pushes.filter(which);
    this.#pushes = this.#pushes.filter((push) => !settled.includes(push));
    for (const { changes, rejected, resolve } of settled) resolve({ outcome, changes, rejected, message, stop });
  }

  /** @param {{ state: 'idle' | 'sending' | 'waiting' | 'stopped', retryAt?: number | null, stop?: Pushed['stop'], error?: LastError }} next */
  #become({ state, retryAt = null, stop = null, error }) {
    const before = this.#state;
    this.#state = { state, retryAt, stop, error: error ?? (state === 'waiting' ? before.error : null) };
    this.#world.changed();
  }

  end() {
    this.#ended = true;
    this.#world.clock.clearTimeout(/** @type {any} */ (this.#timer));
    const error = new TidemarkError('closed', 'the database was closed');
    for (const { reject } of this.#pushes.splice(0)) reject(error);
  }
}

/**
 * @param {Awaited<ReturnType<World['exchange']>>} outcome
 * @returns {FailureKind}
 */
function kindOf(outcome) {
  if (!('failure' in outcome)) return 'answer';
  return outcome.failure.kind === 'timeout' ? 'timeout' : 'unreachable';
}
