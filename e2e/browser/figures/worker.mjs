// Inserts timed inside a dedicated worker, by this package's SQLite and by npm @sqlite.org/sqlite-wasm, both on OPFS by their sahpool.
// The rows, the statement, the tables and the settings are the same; only what stands between the statement and the disk differs.

const columns = 'site_id, measured_at, temperature, count, note, ok';
const insertInto = (table) => `INSERT INTO ${table} (${columns}) VALUES (?, ?, ?, ?, ?, ?)`;
const createPlain = 'CREATE TABLE plain (id INTEGER PRIMARY KEY AUTOINCREMENT, site_id INTEGER, measured_at TEXT, temperature REAL, count INTEGER, note TEXT, ok INTEGER)';
/**
 * Settings that this package's `query` reads, and those that it lets nobody touch (wasm-client/src/storage.rs). The other one gets them all, in
 * this order: a page size counts only before the first look at the file, write-ahead logging without shared memory only after exclusive locking.
 */
const readable = ['page_size', 'cache_size', 'temp_store'];
const fixed = { locking_mode: 'exclusive', journal_mode: 'wal' };
const readableLast = ['synchronous', 'journal_size_limit'];

function rows(count) {
  return Array.from({ length: count }, (_, n) => [1, `2025-01-01 00:${String((n / 60 | 0) % 60).padStart(2, '0')}:${String(n % 60).padStart(2, '0')}.000000`, (n / 7) % 50, n, `запись ${n}`, n % 2]);
}

function timed(work) {
  const begin = performance.now();
  work();
  return performance.now() - begin;
}

/** Rows per second of the package: `table` is `plain` (outside of the schema) or `reading` (captured). */
async function ours({ round, table, count, singles, schema }) {
  const { default: init, Core } = await import('/tidemark/tidemark_wasm.js');
  await init();
  const core = await Core.open({ name: `bench-${table}-${round}`, schema, memory: false, uuid: crypto.getRandomValues(new Uint8Array(16)), seed: 1 });
  if (table === 'plain') core.exec(createPlain);
  else core.exec('INSERT INTO site (id, name) VALUES (1, ?)', ['пост']);
  const read = (names) => Object.fromEntries(names.map((name) => [name, core.query(`PRAGMA ${name}`).rows[0]?.[0]]));
  const settings = { ...read(readable), ...fixed, ...read(readableLast) };
  const sql = insertInto(table);
  const many = rows(count);
  const bulk = timed(() => core.execMany(sql, many));
  const one = rows(singles);
  const single = timed(() => { for (const row of one) core.exec(sql, row); });
  const there = Number(core.query(`SELECT count(*) FROM ${table}`).rows[0][0]);
  core.close();
  return { bulk, single, there, settings };
}

/** Rows per second of the other one, with the same settings. */
async function theirs({ round, count, singles, settings: wanted }) {
  const { default: init } = await import('/sqlite-wasm/index.mjs');
  const sqlite = await init({ print() {}, printErr() {} });
  const pool = await sqlite.installOpfsSAHPoolVfs({ name: `bench-${round}`, directory: `.theirs-${round}` });
  const db = new pool.OpfsSAHPoolDb(`/bench-${round}.db`);
  for (const [name, value] of Object.entries(wanted)) db.exec(`PRAGMA ${name} = ${value}`);
  db.exec(createPlain);
  const settings = Object.fromEntries(Object.keys(wanted).map((name) => [name, db.selectValue(`PRAGMA ${name}`)]));
  const other = Object.keys(wanted).filter((name) => String(settings[name]) !== String(wanted[name]));
  if (other.length > 0) throw new Error(`not the same settings: ${other.map((name) => `${name} is ${settings[name]} instead of ${wanted[name]}`).join(', ')}`);
  const sql = insertInto('plain');
  const many = rows(count);
  const bulk = timed(() => {
    db.exec('BEGIN IMMEDIATE');
    const statement = db.prepare(sql);
    for (const row of many) statement.bind(row).stepReset();
    statement.finalize();
    db.exec('COMMIT');
  });
  const one = rows(singles);
  const statement = db.prepare(sql);
  const single = timed(() => { for (const row of one) statement.bind(row).stepReset(); });
  statement.finalize();
  const there = Number(db.selectValue('SELECT count(*) FROM plain'));
  db.close();
  await pool.removeVfs();
  return { bulk, single, there, settings };
}

self.onmessage = async ({ data }) => {
  try {
    self.postMessage({ value: await (data.who === 'ours' ? ours(data) : theirs(data)) });
  } catch (error) {
    self.postMessage({ error: `${data.who}: ${error?.stack ?? error}` });
  }
};
