// The upstream database, read with plain SQL, and the page's rows beside it, cell by cell. The shift of ids into a station's block is
// done here with arithmetic of this file's own: a mistake of the product cannot hide itself.
import assert from 'node:assert/strict';
import pg from 'pg';

const shownMax = 10;

/** How a column reads as text that keeps every bit, whatever the session's time zone and date style. */
const asText = {
  timestamp: (column) => `(extract(epoch FROM ${column}) * 1000000)::bigint::text`,
  bytes: (column) => `encode(${column}, 'hex')`,
};

export class Upstream {
  #client;

  static async connect(url, schemaName) {
    const upstream = new Upstream();
    upstream.schemaName = schemaName;
    upstream.#client = new pg.Client({ connectionString: url });
    upstream.#client.on('error', () => {});
    await upstream.#client.connect();
    return upstream;
  }

  /** Rows of any statement, as the driver gives them. */
  async query(sql, values) {
    return (await this.#client.query(sql, values)).rows;
  }

  async count(table, station) {
    const where = station === undefined ? '' : ` WHERE station = ${Number(station)}`;
    return Number((await this.query(`SELECT count(*) AS n FROM "${this.schemaName}"."${table}"${where}`))[0].n);
  }

  /** One station's rows of a table, each as a list of canonical cells. */
  async rows(table, station) {
    const columns = table.columns.map(({ name, type }) => (asText[type] ?? ((column) => `${column}::text`))(`"${name}"`));
    const sql = `SELECT ${columns.join(', ')} FROM "${this.schemaName}"."${table.name}" WHERE station = $1`;
    const { rows } = await this.#client.query({ text: sql, values: [station], rowMode: 'array' });
    return rows.map((row) => row.map((text, at) => (text === null ? 'NULL' : fromText[table.columns[at].type](text))));
  }

  async close() {
    await this.#client.end();
  }
}

const fromText = {
  integer: (text) => text,
  real: (text) => bits(Number(text.replace(/^(-?)Infinity$/, '$1Infinity'))),
  text: (text) => JSON.stringify(text),
  boolean: (text) => text,
  timestamp: (text) => `${text} µs`,
  json: (text) => text,
  bytes: (text) => text,
  uuid: (text) => text,
};

function bits(number) {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, number);
  return `${number} ${view.getBigUint64(0).toString(16)}`;
}

function microseconds(text) {
  const [, date, time = '00:00:00', fraction = ''] =
    text.match(/^(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d:\d\d)(?:\.(\d+))?Z?)?$/) ?? assert.fail(`no timestamp: ${text}`);
  return BigInt(Date.parse(`${date}T${time}Z`)) * 1000n + BigInt(fraction.padEnd(6, '0').slice(0, 6));
}

/** What SQLite holds, as the upstream database must hold it. */
const fromPage = {
  integer: (value) => String(value),
  real: (value) => bits(Number(value)),
  text: (value) => JSON.stringify(value),
  boolean: (value) => String(Boolean(value)),
  timestamp: (value) => `${microseconds(value)} µs`,
  json: (value) => value,
  bytes: (value) => Buffer.from(value).toString('hex'),
  uuid: (value) => value,
};

function expected(table, rows, station) {
  const base = BigInt(station) << 32n;
  return rows.map((row) => table.columns.map(({ name, type, references }) => {
    const value = row[name];
    if (value === null) return 'NULL';
    if (type === 'integer' && (references || name === table.key)) return String(base + BigInt(value));
    return fromPage[type](value);
  }));
}

/**
 * Every row of every table of `tab` is upstream, and no other of this station, each cell equal.
 * Returns how many rows were compared.
 */
export async function assertSame(tab, upstream, schema, station) {
  let compared = 0;
  for (const table of schema.tables) {
    const columns = table.columns.map(({ name }) => `"${name}"`).join(', ');
    const here = expected(table, await tab.db('query', `SELECT ${columns} FROM "${table.name}"`), station).map(String);
    const there = (await upstream.rows(table, station)).map(String);
    const [left, right] = [new Set(here), new Set(there)];
    const missing = here.filter((row) => !right.has(row));
    const extra = there.filter((row) => !left.has(row));
    assert.deepEqual({ missing: missing.slice(0, shownMax), extra: extra.slice(0, shownMax), upstream: there.length },
      { missing: [], extra: [], upstream: here.length }, `table ${table.name} differs: ${missing.length} missing upstream, ${extra.length} too many`);
    compared += here.length;
  }
  return compared;
}
