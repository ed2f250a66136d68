/**
 * Whose turn it is at the one connection to the database: calls one after the other, and while a tab's transaction is open only the calls
 * of that transaction. Knows no SQL; `perform` does the work.
 */

/** A transaction without a statement for so long is rolled back: nobody else can write meanwhile. */
export const IDLE_MS = 5_000;
/** Calls that may be done in one commit. */
const TOGETHER_MAX = 128;

/**
 * @template {object} T what identifies a tab
 * @typedef {object} Entry
 * @property {T} tab
 * @property {import('./protocol.js').Call} call
 */

/** @typedef {{ own: () => void }} OwnTurn a turn of the worker itself */

/**
 * @template {object} T
 * @typedef {object} World
 * @property {(entries: Entry<T>[]) => void} perform does calls; several when they can share a commit
 * @property {(entry: Entry<T>) => boolean} canShare
 * @property {() => void} rollBack
 * @property {() => void} settled nothing more can be done now
 * @property {(error: unknown) => void} broken
 * @property {typeof setTimeout} setTimeout
 * @property {typeof clearTimeout} clearTimeout
 */

/** @template {object} T */
export class Turns {
  /** @type {(Entry<T> | OwnTurn)[]} */
  #queue = [];
  /** @type {Entry<T>[]} calls of the open transaction */
  #inside = [];
  /** @type {{ tab: T, n: number } | undefined} */
  #open;
  /** @type {WeakMap<T, string>} why a tab's last transaction ended before its time */
  #ended = new WeakMap();
  #working = false;
  #broken = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #world;

  /** @param {World<T>} world */
  constructor(world) {
    this.#world = world;
  }

  /** The transaction that is open: whose, and the number of the call that began it. */
  get open() {
    return this.#open;
  }

  /**
   * Why a tab's call cannot be done in the transaction it names.
   * @param {T} tab
   */
  whyEnded(tab) {
    return this.#ended.get(tab) ?? 'the tab that had the database open is gone, and what was not committed with it';
  }

  /** @param {Entry<T>[]} entries */
  add(entries) {
    for (const entry of entries) (this.#isInside(entry) ? this.#inside : this.#queue).push(entry);
    this.#work();
  }

  /**
   * A turn of the worker itself, while no transaction is open.
   * @template R
   * @param {() => R} work
   * @returns {Promise<R>}
   */
  own(work) {
    return new Promise((resolve, reject) => {
      this.#queue.push({
        own: () => {
          try {
            resolve(work());
          } catch (error) {
            reject(error);
          }
        },
      });
      this.#work();
    });
  }

  /**
   * The transaction that was asked for is open.
   * @param {T} tab
   * @param {number} n
   */
  began(tab, n) {
    this.#open = { tab, n };
    this.#ended.delete(tab);
  }

  /**
   * It is not any more.
   * @param {string} [why] when it was not its tab that ended it
   */
  over(why) {
    if (this.#open && why !== undefined) this.#ended.set(this.#open.tab, why);
    this.#open = undefined;
  }

  /**
   * A tab is gone: what it asked for is not done any more.
   * @param {T} tab
   */
  drop(tab) {
    const others = (/** @type {Entry<T> | OwnTurn} */ entry) => 'own' in entry || entry.tab !== tab;
    this.#queue = this.#queue.filter(others);
    if (this.#open?.tab === tab) this.#rollBack('its tab is gone');
    this.#work();
  }

  /** @param {Entry<T>} entry */
  #isInside({ tab, call }) {
    return call.tx !== undefined && this.#open?.tab === tab && this.#open.n === call.tx;
  }

  /** @param {string} why */
  #rollBack(why) {
    try {
      this.#world.rollBack();
    } finally {
      this.over(why);
    }
  }

  #take() {
    const inside = this.#inside.shift();
    if (inside) return [inside];
    if (this.#open) return [];
    const first = this.#queue.shift();
    if (!first) return [];
    if ('own' in first || !this.#world.canShare(first)) return [first];
    const group = [first];
    for (let next = this.#queue[0]; next && !('own' in next) && this.#world.canShare(next) && group.length < TOGETHER_MAX; next = this.#queue[0]) {
      group.push(next);
      this.#queue.shift();
    }
    return group;
  }

  #work() {
    if (this.#working || this.#broken) return;
    this.#working = true;
    this.#world.clearTimeout(/** @type {any} */ (this.#timer));
    try {
      for (let entries = this.#take(); entries.length > 0; entries = this.#take()) {
        const [first] = entries;
        if ('own' in first) {
          first.own();
        } else {
          this.#world.perform(/** @type {Entry<T>[]} */ (entries));
        }
      }
      this.#working = false;
      if (this.#open) this.#timer = this.#world.setTimeout(() => this.#idle(), IDLE_MS);
      this.#world.settled();
    } catch (error) {
      this.#broken = true;
      this.#world.broken(error);
    }
  }

  #idle() {
    if (!this.#open || this.#working || this.#broken) return;
    try {
      this.#rollBack(`it was open for ${IDLE_MS / 1000} s without a statement. Inside transaction(tx => …) use tx, not the database itself`);
    } catch (error) {
      this.#broken = true;
      this.#world.broken(error);
      return;
    }
    this.#work();
  }
}
