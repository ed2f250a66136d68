// One private PostgreSQL cluster with TimescaleDB for a whole run, and a database of its own for each test.
import pg from 'pg';
import { Child } from './child.mjs';
import { program } from './paths.mjs';

/** Starts a cluster; it ends with `finish()`, or when this process does, which it does not keep alive. */
export async function startCluster() {
  const child = new Child(program('cluster'), [], { env: process.env.TIDEMARK_PG_BIN && { TIDEMARK_PG_BIN: process.env.TIDEMARK_PG_BIN } });
  const [url] = await child.says(/^postgresql:\S+$/m, 90_000);
  child.unref();
  return { url, finish: () => child.finish(120_000) };
}

let own;
let made = 0;

/** Makes a database and returns its URL: in the run's cluster (run.mjs), or in one of this process when a file runs alone. */
export async function createDatabase() {
  const base = process.env.TIDEMARK_E2E_CLUSTER ?? (await (own ??= startCluster())).url;
  const name = `web_${process.pid}_${(made += 1)}`;
  const client = new pg.Client({ connectionString: base });
  await client.connect();
  try {
    await client.query(`CREATE DATABASE ${name}`);
  } finally {
    await client.end();
  }
  return base.replace(/\/postgres$/, `/${name}`);
}
