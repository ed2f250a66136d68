/** What an app calls. Every method is a message to the owner of the database; see index.d.ts for what each one means. */

import { TidemarkError } from './errors.js';
import { followLifecycle } from './lifecycle.js';
import { LiveQuery, tell } from './live.js';
import { ROWS_AT_ONCE } from './protocol.js';
import { Tab } from './tab.js';

const NAME = /^[A-Za-z0-9_-]{1,64}$/;
/** How often many rows are begun again when their transaction is lost with its owner. */
const TRIES = 3;

/**
 * @typedef {import('./index.js').Tidemark} PublicTidemark
 * @typedef {import('./index.js').OpenOptions} OpenOptions
 * @typedef {import('./index.js').Executed} Executed
 * @typedef {import('./index.js').Row} Row
 * @typedef {import('./index.js').SqlParams} SqlParams
 */

/** @implements {PublicTidemark} */
export class Tidemark {
  #tab;
  #stopFollowing;
  /** @type {Set<(status: import('./index.js').Status) => void>} */
  #onStatus = new Set();
  /** @type {Set<(change: import('./index.js').Change) => void>} */
  #onChange = new Set();
  /** @type {Set<LiveQuery<any>>} */
  #live = new Set();

  /** @param {import('./protocol.js').Start} start */
  constructor(start) {
    this.#tab = new Tab(start, {
      changed: (tables) => this.#changed(tables),
      status: (status) => { if (status) for (const fn of this.#onStatus) tell(fn, { ...status, role: this.#tab.role }); },
    });
    this.#stopFollowing = followLifecycle(this.#tab);
  }

  /**
   * @param {OpenOptions} options
   * @returns {Promise<Tidemark>}
   */
  static async open(options) {
    if (typeof document === 'undefined') throw new TidemarkError('argument', 'open: is called by a page, which has its worker made for it; not in a worker');
    const db = new Tidemark(/** @type {any} */ (startOf(options)));
    try {
      await db.#tab.open();
    } catch (error) {
      db.#stopFollowing();
      throw error;
    }
    // Not awaited: a browser may ask the user, who may take his time.
    db.persist().catch(() => {});
    return db;
  }

  /** @param {string} code */
  async join(code) {
    return this.#tab.call('join', [text('join', 'code', code).trim()]);
  }

  /**
   * @param {string} sql
   * @param {SqlParams} [params]
   * @returns {Promise<Executed>}
   */
  async exec(sql, params) {
    return this.#tab.call('exec', [text('exec', 'sql', sql), params]);
  }

  /**
   * @param {string} sql
   * @param {readonly SqlParams[]} rows
   * @returns {Promise<Executed>}
   */
  async execMany(sql, rows) {
    text('execMany', 'sql', sql);
    list('execMany', rows);
    if (rows.length <= ROWS_AT_ONCE) return this.#tab.call('execMany', [sql, rows]);
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.transaction((tx) => tx.execMany(sql, rows));
      } catch (error) {
        // The rows are all here, so nobody needs to be told that the owner went away.
        if (!(error instanceof TidemarkError) || error.code !== 'rolled-back' || tries === TRIES) throw error;
      }
    }
  }

  /**
   * @template {object} [T=Row]
   * @param {string} sql
   * @param {SqlParams} [params]
   * @returns {Promise<T[]>}
   */
  async query(sql, params) {
    return (await this.#tab.call('query', [text('query', 'sql', sql), params, false])).rows;
  }

  /**
   * @param {string} table
   * @param {Readonly<Record<string, import('./index.js').SqlInput | undefined>>} row
   * @returns {Promise<number>}
   */
  async insert(table, row) {
    return this.#tab.call('insert', [text('insert', 'table', table), present('insert', row)]);
  }

  /**
   * @template T
   * @param {(tx: import('./index.js').Transaction) => Promise<T>} work
   * @returns {Promise<T>}
   */
  async transaction(work) {
    if (typeof work !== 'function') throw new TidemarkError('argument', 'transaction: needs a function that is given the transaction');
    const { tx } = await this.#tab.call('begin', []);
    let over = false;
    /** @type {(what: string, args: any[]) => Promise<any>} */
    const call = async (what, args) => {
      if (over) throw new TidemarkError('argument', `${what}: this transaction has ended; await every statement inside the function`);
      return this.#tab.call(what, args, tx);
    };
    /** @type {T} */
    let result;
    try {
      result = await work({
        exec: (sql, params) => call('exec', [sql, params]),
        execMany: (sql, rows) => execManyInside(call, sql, rows),
        query: async (sql, params) => (await call('query', [sql, params, false])).rows,
        insert: async (table, row) => call('insert', [table, present('insert', row)]),
      });
    } catch (error) {
      over = true;
      await this.#tab.call('rollback', [], tx).catch(() => {});
      throw error;
    }
    over = true;
    await this.#tab.call('commit', [], tx);
    return result;
  }

  /** @returns {Promise<import('./index.js').Pushed>} */
  async push() {
    return this.#tab.call('push', []);
  }

  /** @returns {Promise<import('./index.js').Status>} */
  async status() {
    const { lastStatus } = this.#tab;
    if (lastStatus && this.#tab.isWaiting) return { ...lastStatus, role: 'waiting' };
    const status = await this.#tab.call('status', []);
    return { ...status, role: this.#tab.role };
  }

  /**
   * @param {'status' | 'change'} event
   * @param {(value: any) => void} fn
   * @returns {() => void}
   */
  on(event, fn) {
    if (typeof fn !== 'function') throw new TidemarkError('argument', 'on: the second argument is a function');
    if (event === 'change') {
      this.#onChange.add(fn);
      return () => { this.#onChange.delete(fn); };
    }
    if (event !== 'status') throw new TidemarkError('argument', `on: there is no event ${event}; there are 'status' and 'change'`);
    // The same function may be given twice.
    /** @param {import('./index.js').Status} status */
    const own = (status) => fn(status);
    let told = false;
    /** @param {import('./index.js').Status} status */
    const first = (status) => {
      told = true;
      own(status);
    };
    this.#onStatus.add(first);
    this.status().then((status) => { if (!told && this.#onStatus.has(first)) tell(first, status); }, () => {});
    return () => { this.#onStatus.delete(first); };
  }

  /**
   * @template {object} [T=Row]
   * @param {string} sql
   * @param {SqlParams | undefined} params
   * @param {(rows: T[]) => void} fn
   * @param {(error: TidemarkError) => void} [onError]
   * @returns {() => void}
   */
  liveQuery(sql, params, fn, onError = (error) => console.error(`liveQuery: ${sql}:`, error)) {
    text('liveQuery', 'sql', sql);
    if (typeof fn !== 'function') throw new TidemarkError('argument', 'liveQuery: the third argument is a function that is given the rows');
    const live = new LiveQuery({
      run: async () => {
        const { rows, tables } = await this.#tab.call('query', [sql, params, true]);
        return { rows: /** @type {T[]} */ (rows), tables: /** @type {string[]} */ (tables) };
      },
      fn,
      onError,
    });
    this.#live.add(live);
    return () => {
      live.end();
      this.#live.delete(live);
    };
  }

  /** @param {string[]} tables */
  #changed(tables) {
    for (const live of this.#live) live.changed(tables);
    for (const fn of this.#onChange) tell(fn, { tables: [...tables] });
  }

  /** @returns {Promise<import('./index.js').Reject[]>} */
  async rejects() {
    return this.#tab.call('rejects', []);
  }

  /**
   * @param {number} seq
   * @param {Readonly<Record<string, import('./index.js').SqlInput>>} set
   * @returns {Promise<void>}
   */
  async repair(seq, set) {
    await this.#tab.call('repair', [number('repair', seq), present('repair', set)]);
  }

  /** @param {number} seq */
  async requeue(seq) {
    await this.#tab.call('requeue', [number('requeue', seq)]);
  }

  /** @param {number} seq */
  async discard(seq) {
    await this.#tab.call('discard', [number('discard', seq)]);
  }

  /** @param {import('./index.js').ExportOptions} [options] */
  async export({ what = 'bundle' } = {}) {
    if (what !== 'bundle' && what !== 'database') throw new TidemarkError('argument', `export: what is 'bundle' or 'database', not ${what}`);
    const bytes = await this.#tab.call('export', [what]);
    return new Blob([bytes], { type: what === 'database' ? 'application/vnd.sqlite3' : 'application/octet-stream' });
  }

  /** @returns {Promise<boolean>} */
  async persist() {
    const agreed = (await globalThis.navigator?.storage?.persist?.()) ?? false;
    this.#tab.hint('storage');
    return agreed;
  }

  async close() {
    this.#stopFollowing();
    for (const live of this.#live) live.end();
    this.#live.clear();
    this.#onStatus.clear();
    this.#onChange.clear();
    await this.#tab.close();
  }
}

/**
 * @param {OpenOptions} options
 * @returns {Omit<import('./protocol.js').Start, 't' | 'solo' | 'channel'>}
 */
function startOf(options) {
  if (typeof options !== 'object' || options === null) throw new TidemarkError('argument', 'open: needs options with at least a name');
  const { name, schema, server, memory, sync = 'auto', wasm } = options;
  if (typeof name !== 'string' || !NAME.test(name)) {
    throw new TidemarkError('argument', `open: the name is 1 to 64 letters, digits, "-" and "_", not ${JSON.stringify(name)}`);
  }
  if (schema !== undefined) text('open', 'schema', schema);
  if (server !== undefined) text('open', 'server', server);
  if (memory !== undefined && memory !== 'allow') throw new TidemarkError('argument', `open: memory is 'allow' or left out, not ${memory}`);
  if (sync !== 'auto' && sync !== 'manual') throw new TidemarkError('argument', `open: sync is 'auto' or 'manual', not ${sync}`);
  // Relative to the page, as everything an app writes; the worker lies elsewhere.
  const wasmUrl = wasm === undefined ? undefined : new URL(wasm, document.baseURI).href;
  return { name, schema, server, memory: memory === 'allow', manual: sync === 'manual', wasm: wasmUrl };
}

/**
 * @param {(what: string, args: any[]) => Promise<any>} call
 * @param {string} sql
 * @param {readonly SqlParams[]} rows
 * @returns {Promise<Executed>}
 */
async function execManyInside(call, sql, rows) {
  list('execMany', rows);
  /** @type {Executed} */
  const all = { changes: 0, lastInsertId: 0 };
  let from = 0;
  // In pieces, so that the page draws and answers in between.
  do {
    const done = await call('execMany', [sql, rows.slice(from, from + ROWS_AT_ONCE)]);
    all.changes += done.changes;
    all.lastInsertId = done.lastInsertId;
    from += ROWS_AT_ONCE;
  } while (from < rows.length);
  return all;
}

/**
 * @param {string} what
 * @param {string} argument
 * @param {unknown} value
 * @returns {string}
 */
function text(what, argument, value) {
  if (typeof value !== 'string') throw new TidemarkError('argument', `${what}: ${argument} is a string, not ${typeof value}`);
  return value;
}

/**
 * @param {string} what
 * @param {unknown} value
 * @returns {number}
 */
function number(what, value) {
  if (!Number.isSafeInteger(value)) throw new TidemarkError('argument', `${what}: seq is the number of a change, not ${value}`);
  return /** @type {number} */ (value);
}

/**
 * @param {string} what
 * @param {unknown} rows
 */
function list(what, rows) {
  if (!Array.isArray(rows)) throw new TidemarkError('argument', `${what}: rows is an array with the parameters of each run`);
}

/**
 * A row without the columns that are undefined.
 * @param {string} what
 * @param {unknown} row
 */
function present(what, row) {
  if (typeof row !== 'object' || row === null || Array.isArray(row)) throw new TidemarkError('argument', `${what}: needs an object with the values by column`);
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== undefined));
}
