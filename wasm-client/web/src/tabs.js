/** The tabs an owner works for. */

/** Names of tabs that are gone; a call that was on its way when its tab went is not done. */
const GONE_MAX = 10_000;

/**
 * @typedef {object} KnownTab
 * @property {string} id
 * @property {number} doneUpTo its calls up to this one have their answers
 * @property {Set<number>} asked calls that are not answered yet
 * @property {number} begun the last call that began a transaction
 * @property {number} inside the last call of a transaction that was done
 * @property {import('./protocol.js').Answer[]} answers not sent yet
 * @property {boolean} gone
 */

export class Tabs {
  /** @type {Map<string, KnownTab & { stop: () => void }>} */
  #tabs = new Map();
  /** @type {Set<string>} */
  #gone = new Set();
  #world;

  /**
   * @param {object} world
   * @param {(tab: string, gone: () => void) => () => void} world.watch
   * @param {(tab: KnownTab) => void} world.gone
   */
  constructor(world) {
    this.#world = world;
  }

  all() {
    return this.#tabs.values();
  }

  /**
   * The tab of this name; from now on it is noticed when it goes.
   * @param {string} id
   * @returns {KnownTab | undefined} undefined: it is gone
   */
  known(id) {
    if (this.#gone.has(id)) return undefined;
    let tab = this.#tabs.get(id);
    if (!tab) {
      tab = { id, doneUpTo: 0, asked: new Set(), begun: 0, inside: 0, answers: [], gone: false, stop: () => {} };
      this.#tabs.set(id, tab);
      tab.stop = this.#world.watch(id, () => this.#left(id));
    }
    return tab;
  }

  /** @param {string} id */
  #left(id) {
    const tab = this.#tabs.get(id);
    if (!tab) return;
    this.#tabs.delete(id);
    if (this.#gone.size >= GONE_MAX) this.#gone.clear();
    this.#gone.add(id);
    tab.gone = true;
    this.#world.gone(tab);
  }

  end() {
    for (const tab of this.#tabs.values()) tab.stop();
    this.#tabs.clear();
  }
}
