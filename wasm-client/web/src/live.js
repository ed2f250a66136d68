/** A query that runs again whenever a commit may have changed its rows. */

/** Commits within this time lead to one run. */
const GAP_MS = 50;

/**
 * @template T
 * @typedef {object} LiveOptions
 * @property {() => Promise<{ rows: T[], tables: string[] }>} run the rows now, and the tables they are read from
 * @property {(rows: T[]) => void} fn
 * @property {(error: import('./errors.js').TidemarkError) => void} onError
 */

/** @template T */
export class LiveQuery {
  /** @type {Set<string> | undefined} undefined: not known, any change counts */
  #tables;
  #running = false;
  #dirty = false;
  #ended = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #options;

  /** @param {LiveOptions<T>} options */
  constructor(options) {
    this.#options = options;
    this.#run();
  }

  /** @param {readonly string[]} tables that changed */
  changed(tables) {
    if (this.#ended || (this.#tables && !tables.some((table) => this.#tables?.has(table)))) return;
    this.#dirty = true;
    if (!this.#running && this.#timer === undefined) this.#timer = setTimeout(() => this.#run(), GAP_MS);
  }

  end() {
    this.#ended = true;
    clearTimeout(this.#timer);
  }

  async #run() {
    this.#timer = undefined;
    this.#running = true;
    this.#dirty = false;
    try {
      const { rows, tables } = await this.#options.run();
      this.#tables = new Set(tables);
      if (!this.#ended) tell(this.#options.fn, rows);
    } catch (error) {
      this.#tables = undefined;
      const failure = /** @type {import('./errors.js').TidemarkError} */ (error);
      if (!this.#ended && failure.code !== 'closed') tell(this.#options.onError, failure);
    }
    this.#running = false;
    if (this.#dirty && !this.#ended) this.#timer = setTimeout(() => this.#run(), GAP_MS);
  }
}

/**
 * Calls a function of the app's; what it throws is the app's own, and stops nothing of ours.
 * @template T
 * @param {(value: T) => void} fn
 * @param {T} value
 */
export function tell(fn, value) {
  try {
    fn(value);
  } catch (error) {
    queueMicrotask(() => { throw error; });
  }
}
