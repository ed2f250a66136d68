/**
 * A page's calls: numbered, sent to whoever owns the database, said again to a new owner until they are answered. Knows no channel and no
 * worker, only a way to send.
 */

import { TidemarkError, fromFailure } from './errors.js';
import { CALLS_AT_ONCE } from './protocol.js';

/** Calls that wait in the page; a program that makes more without awaiting any would only fill the memory. */
const WAITING_MAX = 100_000;

/**
 * @typedef {import('./index.js').Row} Row
 * @typedef {import('./protocol.js').Call} Call
 * @typedef {{ resolve: (value: any) => void, reject: (error: TidemarkError) => void }} Waiter
 * @typedef {Call & Waiter & { rows: Row[], sentAt?: number }} Unanswered
 * @typedef {{ what: string, args: any[], tx?: number } & Waiter} Waiting
 */

export class Calls {
  #next = 1;
  /** @type {Map<number, Unanswered>} in the order of their numbers */
  #unanswered = new Map();
  /** @type {Waiting[]} not numbered yet */
  #waiting = [];
  /** @type {Unanswered[]} to be sent when the running task has made all its calls */
  #batch = [];
  #owned = false;
  /** @type {(() => void)[]} */
  #whenIdle = [];
  #send;
  #now;

  /**
   * @param {(calls: Call[], doneUpTo: number) => void} send throws where a call's arguments cannot be sent
   * @param {() => number} [now]
   */
  constructor(send, now = () => performance.now()) {
    this.#send = send;
    this.#now = now;
  }

  /** Calls that have no answer yet. */
  get open() {
    return this.#unanswered.size + this.#waiting.length;
  }

  /**
   * @param {string} what
   * @param {any[]} args
   * @param {number} [tx]
   * @returns {Promise<any>}
   */
  call(what, args, tx) {
    return new Promise((resolve, reject) => {
      // The calls of a transaction never wait behind others: those may wait for the transaction.
      if (tx === undefined && (this.#waiting.length > 0 || this.#unanswered.size >= CALLS_AT_ONCE)) {
        if (this.#waiting.length >= WAITING_MAX) {
          reject(new TidemarkError('busy', `${WAITING_MAX} calls wait for being done already; await them, or use execMany for many rows`));
          return;
        }
        this.#waiting.push({ what, args, tx, resolve, reject });
      } else {
        this.#number({ what, args, tx, resolve, reject });
      }
    });
  }

  /** @param {Waiting} waiting */
  #number({ what, args, tx, resolve, reject }) {
    const n = this.#next;
    this.#next += 1;
    /** @type {Unanswered} */
    const call = { n, what, args, resolve, reject, rows: [] };
    if (tx !== undefined) call.tx = tx;
    this.#unanswered.set(n, call);
    if (this.#owned) {
      if (this.#batch.length === 0) queueMicrotask(() => this.#flush());
      this.#batch.push(call);
    }
  }

  #flush() {
    const batch = this.#batch.filter((call) => this.#unanswered.has(call.n));
    this.#batch = [];
    if (this.#owned && batch.length > 0) this.#deliver(batch);
  }

  /** @param {Unanswered[]} batch */
  #deliver(batch) {
    const doneUpTo = this.#doneUpTo();
    const now = this.#now();
    for (const call of batch) {
      call.rows = [];
      call.sentAt = now;
    }
    const plain = batch.map(({ n, what, args, tx }) => (tx === undefined ? { n, what, args } : { n, what, args, tx }));
    try {
      this.#send(plain, doneUpTo);
    } catch (error) {
      if (batch.length > 1) {
        for (const call of batch) this.#deliver([call]);
        return;
      }
      const words = error instanceof Error ? error.message : String(error);
      this.#settle(batch[0], ({ reject }) => reject(new TidemarkError('argument', `${batch[0].what}: an argument cannot be sent to the worker: ${words}`)));
    }
  }

  /** The smallest unanswered number less one. */
  #doneUpTo() {
    for (const n of this.#unanswered.keys()) return n - 1;
    return this.#next - 1;
  }

  /** An owner is there, which has heard of none of the calls: they are said to it, in their order. */
  owned() {
    this.#owned = true;
    this.#batch = [];
    const all = [...this.#unanswered.values()];
    for (let from = 0; from < all.length; from += CALLS_AT_ONCE) this.#deliver(all.slice(from, from + CALLS_AT_ONCE));
    this.#refill();
  }

  /** Nobody is there: calls wait for the next owner. */
  lost() {
    this.#owned = false;
    this.#batch = [];
  }

  /**
   * Calls the owner does not know of are said again.
   * @param {number[]} numbers
   */
  again(numbers) {
    const calls = numbers.map((n) => this.#unanswered.get(n)).filter((call) => call !== undefined);
    if (this.#owned && calls.length > 0) this.#deliver(calls);
  }

  /**
   * Numbers of calls that were sent so long ago, oldest first.
   * @param {number} ms
   */
  olderThan(ms) {
    const before = this.#now() - ms;
    return [...this.#unanswered.values()].filter(({ sentAt }) => sentAt !== undefined && sentAt <= before).map(({ n }) => n);
  }

  /** @param {import('./protocol.js').Answer[]} answers */
  answered(answers) {
    for (const answer of answers) {
      const call = this.#unanswered.get(answer.n);
      if (!call) continue;
      if ('rows' in answer) {
        call.rows.push(...objects(answer));
      } else if ('error' in answer) {
        this.#settle(call, ({ reject }) => reject(fromFailure(answer.error)));
      } else {
        if (call.what === 'query') answer.ok.rows = call.rows.concat(objects(answer.ok));
        this.#settle(call, ({ resolve }) => resolve(answer.ok));
      }
    }
    this.#refill();
  }

  /**
   * @param {Unanswered} call
   * @param {(waiter: Waiter) => void} how
   */
  #settle(call, how) {
    this.#unanswered.delete(call.n);
    how(call);
  }

  /** Resolves when every call has been answered. */
  idle() {
    return new Promise((/** @type {(value?: unknown) => void} */ resolve) => {
      this.#whenIdle.push(resolve);
      this.#tellIdle();
    });
  }

  #tellIdle() {
    if (this.open === 0) for (const resolve of this.#whenIdle.splice(0)) resolve();
  }

  #refill() {
    const room = Math.min(CALLS_AT_ONCE - this.#unanswered.size, this.#waiting.length);
    if (room > 0) for (const waiting of this.#waiting.splice(0, room)) this.#number(waiting);
    this.#tellIdle();
  }

  /**
   * Nothing more will be answered.
   * @param {TidemarkError} error
   */
  failAll(error) {
    const all = [...this.#unanswered.values(), ...this.#waiting];
    this.#unanswered.clear();
    this.#waiting = [];
    this.#batch = [];
    for (const { reject } of all) reject(error);
    this.#tellIdle();
  }
}

/**
 * Piece by piece as they come, so that no piece of a long result keeps the page from drawing.
 * @param {{ columns: string[], rows: any[][] }} result
 * @returns {Row[]}
 */
function objects({ columns, rows }) {
  return rows.map((row) => {
    /** @type {Row} */
    const object = {};
    for (let index = 0; index < columns.length; index += 1) object[columns[index]] = row[index];
    return object;
  });
}
