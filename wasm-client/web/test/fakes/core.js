/**
 * A Core without SQLite and engine, over a "disk" that outlives it. Statements: `put X` adds X, `refuse` violates a constraint, `trap` is a
 * trap of the module, `full` fills the disk and takes the transaction with it.
 */
import { TidemarkError } from '../../src/errors.js';

export const newDisk = () => ({ rows: [], notes: new Map() });
const copy = ({ rows, notes }) => ({ rows: [...rows], notes: new Map(notes) });

export class FakeCore {
  /** Names of calls that throw when they are made the next time. */
  failing = new Map();
  /** What `next` answers, in turn; then idle. */
  actions = [];
  /** What `onReply` and `onFailure` answer, in turn. */
  events = [];
  made = [];
  commits = 0;
  repaired = [];
  number = null;
  farewells = 0;
  rejectsOpen = 0;
  lastError = null;
  #disk;
  #work;
  #changed = new Set();
  #closed = false;

  constructor(disk) {
    this.#disk = disk;
  }

  #now(name) {
    if (this.#closed) throw new TidemarkError('closed', 'closed');
    this.made.push(name);
    const error = this.failing.get(name);
    if (error) {
      this.failing.delete(name);
      throw error;
    }
    return this.#work ?? this.#disk;
  }

  begin() {
    const disk = this.#now('begin');
    if (this.#work) throw new TidemarkError('sql', 'cannot start a transaction within a transaction');
    this.#work = copy(disk);
  }

  commit() {
    this.#now('commit');
    if (this.#work.rows.length !== this.#disk.rows.length) this.#changed.add('thing');
    this.#commit();
  }

  #commit() {
    Object.assign(this.#disk, this.#work);
    this.#work = undefined;
    this.commits += 1;
  }

  rollback() {
    this.#now('rollback');
    this.#work = undefined;
  }

  inTransaction() {
    return this.#work !== undefined;
  }

  exec(sql) {
    const { rows } = this.#now('exec');
    if (!this.#work) throw new Error('BUG: a write outside a transaction');
    const [verb, what] = sql.split(' ');
    if (verb === 'refuse') throw new TidemarkError('constraint', 'CHECK constraint failed');
    if (verb === 'trap') throw new Error('unreachable');
    if (verb === 'full') {
      this.#work = undefined;
      throw new TidemarkError('full', 'no room');
    }
    rows.push(what);
    return { changes: 1, lastInsertId: rows.length };
  }

  execMany(sql, many) {
    for (const what of many) this.exec(`put ${what}`);
    return { changes: many.length, lastInsertId: 0 };
  }

  insert(table, { what }) {
    return this.exec(`put ${what}`).lastInsertId;
  }

  query(sql) {
    const { rows, notes } = this.#now('query');
    if (sql.includes('tidemark_calls')) return { columns: ['tab'], rows: [...new Set([...notes.keys()].map((key) => key.split(' ')[0]))].map((tab) => [tab]) };
    if (sql === 'refuse') throw new TidemarkError('sql', 'no such table');
    return { columns: ['what'], rows: rows.map((what) => [what]) };
  }

  tablesOf() {
    return ['thing'];
  }

  noteCall(tab, call, answer, doneUpTo) {
    const { notes } = this.#now('noteCall');
    if (!this.#work) throw new Error('BUG: a note outside a transaction');
    notes.set(`${tab} ${call}`, answer);
    for (const key of notes.keys()) if (key.startsWith(`${tab} `) && Number(key.split(' ')[1]) <= doneUpTo) notes.delete(key);
  }

  answerOf(tab, call) {
    return this.#now('answerOf').notes.get(`${tab} ${call}`);
  }

  forgetTab(tab) {
    const { notes } = this.#now('forgetTab');
    if (this.#work) throw new Error('BUG: forgotten inside a transaction');
    for (const key of notes.keys()) if (key.startsWith(`${tab} `)) notes.delete(key);
  }

  takeChanges() {
    const changed = [...this.#changed];
    this.#changed.clear();
    return changed;
  }

  checkCapture() {
    this.#outside('checkCapture');
    return this.repaired.splice(0);
  }

  #outside(name) {
    const disk = this.#now(name);
    if (this.#work) throw new Error(`BUG: ${name} inside a page's transaction`);
    return disk;
  }

  status() {
    const lastSeq = this.#outside('status').rows.length;
    return { state: 'pending', number: this.number, name: 'x', lastSeq, tidemark: 0, pending: lastSeq, rejects: this.rejectsOpen, lastError: this.lastError, lastErrorMs: 1 };
  }

  next() {
    this.#outside('next');
    return this.actions.shift() ?? { do: 'idle' };
  }

  onReply(now, id) {
    this.#outside(`onReply ${id}`);
    return this.events.shift() ?? { event: 'ignored' };
  }

  onFailure(now, id, kind, message) {
    this.#outside(`onFailure ${id} ${kind} ${message}`);
    return this.events.shift() ?? { event: 'failed', message, retryAtMs: now + 1000 };
  }

  online() { this.#now('online'); }
  offline() { this.#now('offline'); }
  resume() { this.#now('resume'); }

  farewell() {
    this.#outside('farewell');
    this.farewells += 1;
    return { id: 0, method: 'POST', url: 'https://up.example/v1/push', body: new Uint8Array([this.farewells]), timeoutMs: 1 };
  }

  joinBegin(code) {
    this.#outside('joinBegin');
    if (code === 'bad') throw new TidemarkError('join', 'this is no join code');
    if (this.number !== null) return { joined: { number: this.number, name: 'x' } };
    return { do: 'send', id: 0, method: 'POST', url: 'https://up.example/v1/join', body: new Uint8Array(), timeoutMs: 1 };
  }

  joinFinish() {
    this.#outside('joinFinish');
    this.number = 7;
    return { number: 7, name: 'x' };
  }

  evolve(schema) {
    this.#outside('evolve');
    if (schema === 'bad') throw new TidemarkError('schema', 'older');
  }

  schema() {
    return { name: 's', version: 1, tables: [{ name: 'thing' }] };
  }

  rejects() { return []; }

  // These change the log and the list of rejects, and no row of a table: nothing is told by takeChanges.
  repair() { this.#aboutReject('repair', ['requeued']); }
  requeue() { this.#aboutReject('requeue', ['requeued']); }
  discard() { this.#aboutReject('discard', []); }

  #aboutReject(name, rows) {
    const disk = this.#outside(name);
    this.#work = copy(disk);
    this.#work.rows.push(...rows);
    this.rejectsOpen -= 1;
    this.#commit();
  }

  exportBundle() { return new Uint8Array([1]); }
  exportDatabase() { return new Uint8Array([2]); }

  close() {
    this.#closed = true;
  }
}
