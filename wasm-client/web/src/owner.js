/**
 * The owner of the database: does the calls of all tabs, one after the other, each write once. What it commits it tells to every tab, and
 * to the sync.
 */

import { TidemarkError, isExpected, toFailure } from './errors.js';
import { exchange } from './http.js';
import { CALLS_KEPT, ROWS_AT_ONCE } from './protocol.js';
import { Status } from './status.js';
import { Sync } from './sync.js';
import { Tabs } from './tabs.js';
import { Turns } from './transactions.js';

/** Calls that are committed with their answer: said again, they are answered and not done again. */
const WRITES = new Set(['exec', 'execMany', 'insert']);
/** Of them those that are one statement, which many can share a commit. */
const SHARING = new Set(['exec', 'insert']);
/** Calls that take more than one turn at the database, or time on the network. */
const LONG = new Set(['open', 'join', 'push', 'status', 'export']);

/**
 * @typedef {import('./core.js').Core} Core
 * @typedef {import('./protocol.js').Call} Call
 * @typedef {import('./tabs.js').KnownTab} KnownTab
 *
 * @typedef {object} World
 * @property {Core} core the open database
 * @property {string | undefined} schema what it was opened with
 * @property {string | undefined} server
 * @property {boolean} manual
 * @property {'opfs' | 'memory'} kind
 * @property {string} epoch names this ownership
 * @property {(tab: string, message: object) => void} send to one tab
 * @property {(message: object) => void} announce to all tabs
 * @property {(request: import('./protocol.js').Request | null) => void} farewell
 * @property {(tab: string, gone: () => void) => () => void} watch tells when a tab is gone; returns how to stop
 * @property {(error: import('./protocol.js').Failure) => void} die the module cannot be trusted any more
 * @property {import('./sync.js').Clock} clock
 * @property {typeof exchange} [exchange]
 * @property {import('./status.js').StorageManagerLike} [storage]
 * @property {() => boolean} [isOnline]
 */

export class Owner {
  #world;
  #core;
  #closed = false;
  /** The log or the list of rejects changed, perhaps with no row of a table: changes of tables do not tell. */
  #moved = false;
  #epoch;
  #tabs;
  #sync;
  #status;
  #schemas;
  #ended = new AbortController();
  /** @type {Turns<KnownTab>} */
  #turns;

  /** @param {World} world */
  constructor(world) {
    this.#world = world;
    this.#core = world.core;
    this.#epoch = world.epoch;
    this.#schemas = new Set([world.schema]);
    const { clock } = world;
    this.#turns = new Turns({
      perform: (entries) => this.#perform(entries),
      canShare: ({ tab, call }) => SHARING.has(call.what) && call.tx === undefined && !tab.gone,
      rollBack: () => { if (this.#core.inTransaction()) this.#core.rollback(); },
      settled: () => this.#settled(),
      broken: (error) => this.#die(error),
      setTimeout: clock.setTimeout,
      clearTimeout: clock.clearTimeout,
    });
    this.#tabs = new Tabs({ watch: world.watch, gone: (tab) => this.#gone(tab) });
    this.#status = new Status({
      read: () => this.#turns.own(() => this.#core.status()),
      sync: (pending) => this.#sync.snapshot(pending),
      kind: world.kind,
      storage: world.storage,
      announce: (status) => world.announce({ t: 'status', epoch: this.#epoch, status }),
      failed: (error) => this.#dieUnlessExpected(error),
      clock,
    });
    this.#sync = new Sync({
      turn: (work) => this.#turns.own(() => work(this.#core)),
      exchange: (request) => (world.exchange ?? exchange)(request, this.#ended.signal),
      changed: () => this.#status.touch(),
      farewell: world.farewell,
      freeDisk: () => this.#status.free(),
      broken: (error) => this.#die(error),
      manual: world.manual,
      isOnline: world.isOnline ?? (() => globalThis.navigator?.onLine !== false),
      clock,
    });
  }

  /** Says that it is there, and begins. */
  start() {
    this.#hello();
    // Tabs of the time before: those that still live will say so.
    const known = this.#core.query('SELECT DISTINCT tab FROM tidemark_calls').rows;
    for (const [tab] of known) this.#tabs.known(String(tab));
    this.#sync.start();
    this.#status.touch();
  }

  #hello() {
    const tables = this.#core.schema().tables.map(({ name }) => name);
    this.#world.announce({ t: 'hello', epoch: this.#epoch, tables });
  }

  /**
   * A message of a tab. What is not understood is ignored.
   * @param {any} message
   */
  receive(message) {
    if (this.#closed) return;
    switch (message.t) {
      case 'who':
        this.#turns.own(() => this.#hello()).catch((error) => this.#dieUnlessExpected(error));
        break;
      case 'hint':
        if (message.what === 'storage') this.#status.refreshStorage();
        else this.#sync.hint(message.what);
        break;
      case 'nudge':
        this.#onNudge(message);
        break;
      case 'calls':
        this.#onCalls(message);
        break;
      default:
    }
  }

  /** @param {import('./protocol.js').Calls} message */
  #onCalls({ tab: id, doneUpTo, calls }) {
    if (typeof id !== 'string' || !Array.isArray(calls)) return;
    const tab = this.#tabs.known(id);
    if (!tab) return;
    tab.doneUpTo = Math.max(tab.doneUpTo, doneUpTo);
    const entries = [];
    for (const call of calls) {
      if (call.n <= tab.doneUpTo || tab.asked.has(call.n)) continue;
      if (tab.asked.size >= CALLS_KEPT) break;
      tab.asked.add(call.n);
      if (LONG.has(call.what)) this.#long(tab, call);
      else entries.push({ tab, call });
    }
    this.#turns.add(entries);
  }

  /** @param {import('./protocol.js').Nudge} message */
  #onNudge({ tab: id, calls }) {
    const tab = this.#tabs.known(id);
    const unknown = calls.filter((n) => !tab?.asked.has(n));
    if (unknown.length > 0) this.#world.send(id, { t: 'unknown', epoch: this.#epoch, calls: unknown });
  }

  /** @param {import('./transactions.js').Entry<KnownTab>[]} entries */
  #perform(entries) {
    if (entries.length > 1 && this.#together(entries)) return;
    for (const { tab, call } of entries) {
      if (tab.gone) continue;
      this.#answer(tab, call, () => this.#one(tab, call));
    }
  }

  /**
   * Many statements in one commit: all of them, or none (then each gets its own, and its own error).
   * @param {import('./transactions.js').Entry<KnownTab>[]} entries
   */
  #together(entries) {
    const core = this.#core;
    /** @type {any[]} */
    const values = [];
    try {
      core.begin();
      for (const { tab, call } of entries) values.push(this.#noted(tab, call));
      core.commit();
    } catch (error) {
      if (!isExpected(error)) {
        const culprit = entries[values.length];
        culprit?.tab.answers.push({ n: culprit.call.n, error: toFailure(error) });
        throw error;
      }
      if (core.inTransaction()) core.rollback();
      return false;
    }
    entries.forEach(({ tab, call }, index) => tab.answers.push(this.#done(tab, call, values[index])));
    return true;
  }

  /**
   * @param {KnownTab} tab
   * @param {Call} call
   */
  #one(tab, call) {
    const core = this.#core;
    if (call.tx !== undefined) return this.#inside(tab, call);
    if (WRITES.has(call.what)) return this.#committed(() => this.#noted(tab, call));
    switch (call.what) {
      case 'query':
        return this.#query(call);
      case 'begin':
        // Said again by a tab that has not seen the answer yet.
        if (call.n <= tab.begun) throw this.#rolledBack(tab);
        core.begin();
        tab.begun = call.n;
        this.#turns.began(tab, call.n);
        return { tx: call.n };
      case 'rejects':
        return core.rejects();
      case 'repair':
      case 'requeue':
      case 'discard':
        return this.#aboutReject(tab, call);
      default:
        throw new TidemarkError('argument', `${call.what}: the tab that has the database open does not know this call; reload all tabs`);
    }
  }

  /** @param {KnownTab} tab */
  #rolledBack(tab) {
    return new TidemarkError('rolled-back', `the transaction was rolled back: ${this.#turns.whyEnded(tab)}; run it again`);
  }

  /**
   * @template R
   * @param {() => R} work
   * @returns {R}
   */
  #committed(work) {
    const core = this.#core;
    core.begin();
    try {
      const value = work();
      core.commit();
      return value;
    } catch (error) {
      if (isExpected(error) && core.inTransaction()) core.rollback();
      throw error;
    }
  }

  /**
   * Does a write in the open transaction and keeps its answer there; or finds that it was done.
   * @param {KnownTab} tab
   * @param {Call} call
   */
  #noted(tab, call) {
    const known = this.#core.answerOf(tab.id, call.n);
    if (known !== undefined) return JSON.parse(known);
    const value = this.#write(call);
    this.#core.noteCall(tab.id, call.n, JSON.stringify(value), tab.doneUpTo);
    return value;
  }

  /** @param {Call} call */
  #write({ what, args }) {
    const core = this.#core;
    if (what === 'insert') return core.insert(args[0], args[1]);
    return what === 'exec' ? core.exec(args[0], args[1]) : core.execMany(args[0], args[1]);
  }

  /**
   * A call of a transaction.
   * @param {KnownTab} tab
   * @param {Call} call
   */
  #inside(tab, call) {
    const core = this.#core;
    const { open } = this.#turns;
    if (open?.tab !== tab || open.n !== call.tx) {
      const known = call.what === 'commit' ? core.answerOf(tab.id, call.n) : undefined;
      if (known !== undefined) return JSON.parse(known);
      throw this.#rolledBack(tab);
    }
    if (call.n <= tab.inside) {
      // It was done, and its answer did not arrive: not a second time. The whole transaction can be run again.
      core.rollback();
      this.#turns.over('a message between the tabs was lost');
      throw this.#rolledBack(tab);
    }
    tab.inside = call.n;
    switch (call.what) {
      case 'rollback':
        core.rollback();
        this.#turns.over();
        return null;
      case 'commit':
        try {
          core.noteCall(tab.id, call.n, 'null', tab.doneUpTo);
          core.commit();
        } catch (error) {
          if (isExpected(error) && core.inTransaction()) core.rollback();
          this.#turns.over('it could not be committed');
          throw error;
        }
        this.#turns.over();
        return null;
      case 'query':
        return this.#query(call);
      default:
    }
    if (!WRITES.has(call.what)) throw new TidemarkError('argument', `${call.what}: not in a transaction`);
    try {
      return this.#write(call);
    } catch (error) {
      // A full disk takes the whole transaction with it.
      if (isExpected(error) && !core.inTransaction()) this.#turns.over(error.message);
      throw error;
    }
  }

  /** @param {Call} call */
  #query({ args: [sql, params, live] }) {
    const result = this.#core.query(sql, params);
    return live ? { ...result, tables: this.#core.tablesOf(sql) } : result;
  }

  /**
   * These have a transaction of their own, so the answer is noted in the next one. A crash of the whole browser in between costs an error
   * that says that the reject is not open any more.
   * @param {KnownTab} tab
   * @param {Call} call
   */
  #aboutReject(tab, { n, what, args: [seq, set] }) {
    const core = this.#core;
    if (core.answerOf(tab.id, n) !== undefined) return null;
    if (what === 'repair') core.repair(seq, set);
    else if (what === 'requeue') core.requeue(seq);
    else core.discard(seq);
    this.#moved = true;
    this.#committed(() => core.noteCall(tab.id, n, 'null', tab.doneUpTo));
    return null;
  }

  /**
   * @param {KnownTab} tab
   * @param {Call} call
   * @param {() => any} work
   */
  #answer(tab, call, work) {
    try {
      tab.answers.push(this.#done(tab, call, work()));
    } catch (error) {
      tab.asked.delete(call.n);
      const failure = toFailure(error);
      tab.answers.push({ n: call.n, error: failure });
      if (failure.code === 'full') this.#status.full();
      // What nobody has thought of has left the module in a state nobody knows. The caller has its answer, so that it does not ask the next
      // owner for the same.
      if (!isExpected(error)) throw error;
    }
  }

  /**
   * @param {KnownTab} tab
   * @param {Call} call
   * @param {any} value
   * @returns {import('./protocol.js').Answer}
   */
  #done(tab, call, value) {
    tab.asked.delete(call.n);
    if (call.what !== 'query') return { n: call.n, ok: value };
    let from = 0;
    for (; value.rows.length - from > ROWS_AT_ONCE; from += ROWS_AT_ONCE) {
      this.#flush(tab, [{ n: call.n, columns: value.columns, rows: value.rows.slice(from, from + ROWS_AT_ONCE) }]);
    }
    return { n: call.n, ok: from === 0 ? value : { ...value, rows: value.rows.slice(from) } };
  }

  /**
   * Calls that take more than one turn, and their time.
   * @param {KnownTab} tab
   * @param {Call} call
   */
  async #long(tab, call) {
    try {
      const ok = await this.#longWork(call);
      this.#flush(tab, [{ n: call.n, ok }]);
    } catch (error) {
      this.#flush(tab, [{ n: call.n, error: toFailure(error) }]);
      if (!isExpected(error)) this.#die(error);
    }
    tab.asked.delete(call.n);
  }

  /** @param {Call} call */
  #longWork({ what, args }) {
    switch (what) {
      case 'open':
        return this.#follow(args[0].schema);
      case 'join':
        return this.#join(args[0]);
      case 'push':
        return this.#sync.push();
      case 'status':
        return this.#status.now();
      default:
        return this.#turns.own(() => this.#export(args[0]));
    }
  }

  /**
   * A tab opens the database with a schema: when it is another than ours, the database follows it, or the tab learns why not.
   * @param {string | undefined} schema
   */
  #follow(schema) {
    return this.#turns.own(() => {
      if (schema === undefined || this.#schemas.has(schema)) return null;
      this.#core.evolve(schema);
      this.#schemas.add(schema);
      const tables = this.#core.schema().tables.map(({ name }) => name);
      this.#world.announce({ t: 'change', epoch: this.#epoch, tables });
      return null;
    });
  }

  /** @param {'bundle' | 'database'} what */
  #export(what) {
    if (what === 'database') return this.#core.exportDatabase();
    return this.#core.exportBundle(this.#world.clock.now()) ?? new Uint8Array();
  }

  /**
   * The same code and token again after a lost reply are the same join.
   * @param {string} code
   */
  async #join(code) {
    const token = crypto.getRandomValues(new Uint8Array(32));
    const begun = await this.#turns.own(() => this.#core.joinBegin(code, this.#world.server, token));
    if ('joined' in begun) return begun.joined;
    const outcome = await (this.#world.exchange ?? exchange)(begun, this.#ended.signal);
    if ('failure' in outcome) {
      throw new TidemarkError('unreachable', `${outcome.failure.message}. Nothing is lost: call join again with the same code`);
    }
    const { status, retryAfter, body } = outcome.reply;
    const joined = await this.#turns.own(() => this.#core.joinFinish(this.#world.clock.now(), status, retryAfter, body));
    this.#sync.poke();
    this.#status.touch();
    return joined;
  }

  /** Between two turns: what was done is told. */
  #settled() {
    if (this.#closed) return;
    for (const tab of this.#tabs.all()) {
      if (tab.answers.length > 0) this.#flush(tab, tab.answers.splice(0));
    }
    const tables = this.#core.takeChanges();
    if (tables.length > 0) this.#world.announce({ t: 'change', epoch: this.#epoch, tables });
    if (tables.length === 0 && !this.#moved) return;
    this.#moved = false;
    this.#sync.committed();
    this.#status.touch();
  }

  /**
   * @param {KnownTab} tab
   * @param {import('./protocol.js').Answer[]} answers
   */
  #flush(tab, answers) {
    if (!this.#closed && !tab.gone) this.#world.send(tab.id, { t: 'answers', epoch: this.#epoch, answers });
  }

  /** @param {KnownTab} tab */
  #gone(tab) {
    if (this.#closed) return;
    this.#turns.drop(tab);
    // Nobody will ask for its answers.
    this.#turns.own(() => this.#core.forgetTab(tab.id)).catch((error) => this.#dieUnlessExpected(error));
  }

  /** @param {unknown} error */
  #dieUnlessExpected(error) {
    if (!isExpected(error)) this.#die(error);
  }

  /** @param {unknown} error */
  #die(error) {
    if (this.#closed) return;
    for (const tab of this.#tabs.all()) this.#flush(tab, tab.answers.splice(0));
    this.#end();
    this.#world.die(toFailure(error));
  }

  #end() {
    this.#closed = true;
    this.#ended.abort();
    this.#sync.end();
    this.#status.end();
    this.#tabs.end();
  }

  /** Gives the database up: an open transaction is rolled back, and what is not done yet is said again to the next owner. */
  async close() {
    if (this.#closed) return;
    const { open } = this.#turns;
    if (open) this.#turns.drop(open.tab);
    await this.#turns.own(() => {
      this.#settled();
      this.#end();
      this.#core.close();
      this.#world.announce({ t: 'bye', epoch: this.#epoch });
    });
  }
}
