// Rocicorp Zero pushing mutations into PostgreSQL through its zero-cache: a peer of scripts/compare.
//
//     node zero.mjs PACKAGES URL FILE LIMIT
//
// PACKAGES is the folder whose node_modules has @rocicorp/zero, URL a database of a cluster with wal_level = logical that
// holds an empty plain table bench.reading with the key `id`; FILE and LIMIT say which rows. Starts zero-cache, the
// endpoint that it sends mutations to (which is always a program of the user's own, here the one of Zero's manual), and a
// client in this process with its store in memory. A row is a mutation. The rows are in memory when the clock starts, and
// it stops when the server has confirmed the last. Prints JSON: rows, seconds, with.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { freePort, read, started, stopped, until } from './rows.mjs';

const [packages, database, file, limit] = process.argv.slice(2);
const require = createRequire(join(packages, 'package.json'));
const from = (name) => import(pathToFileURL(require.resolve(name)));
const { Zero, createSchema, table, string, number, defineMutator, defineMutators, mustGetMutator } = await from('@rocicorp/zero');
const { handleMutateRequest } = await from('@rocicorp/zero/server');
const { zeroPostgresJS } = await from('@rocicorp/zero/server/adapters/postgresjs');
const { default: postgres } = await from('postgres');

const reading = table('reading').from('bench.reading').columns({
  id: number(), station: number(), site_id: number(), measured_at: number(),
  temperature: number(), humidity: number(), pressure: number(), note: string().optional(),
}).primaryKey('id');
const schema = createSchema({ tables: [reading], enableLegacyMutators: false, enableLegacyQueries: false });
const mutators = defineMutators({
  reading: { insert: defineMutator(async ({ tx, args }) => { await tx.mutate.reading.insert(args); }) },
});

// Mutations on their way at once. With more the client takes longer for each, for it runs all that wait once more on
// every answer; with fewer it waits for the network.
const flight = 50;

const rows = await read(file, Number(limit));
const folder = mkdtempSync(join(tmpdir(), 'tidemark-zero-'));
const sql = postgres(database, { onnotice: () => {} });
// Zero takes tables outside the schema public only by a publication of the user's own.
await sql`CREATE PUBLICATION zero_bench FOR TABLE bench.reading`;
const dbProvider = zeroPostgresJS(schema, sql);
const endpoint = createServer((request, reply) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk)).on('end', async () => {
    try {
      const query = new URL(request.url, 'http://localhost').searchParams;
      const handler = (transact) => transact((tx, name, args) => mustGetMutator(mutators, name).fn({ tx, args }));
      const body = JSON.parse(Buffer.concat(chunks).toString());
      const answer = await handleMutateRequest({ dbProvider, handler, query, body, userID: 'bench', logLevel: 'error' });
      reply.setHeader('content-type', 'application/json').end(JSON.stringify(answer));
    } catch (error) {
      reply.writeHead(500).end(String(error));
    }
  });
});
await new Promise((resolve) => endpoint.listen(0, '127.0.0.1', resolve));
const port = await freePort();
const cache = await started(spawn, process.execPath, [join(packages, 'node_modules/@rocicorp/zero/out/zero/src/cli.js')], {
  cwd: folder,
  env: {
    ...process.env,
    // Its workers are found by the name of this program.
    PATH: `${process.execPath.replace(/\/[^/]*$/, '')}:${process.env.PATH}`,
    DO_NOT_TRACK: '1', ZERO_ENABLE_TELEMETRY: 'false', ZERO_LOG_LEVEL: 'error', NODE_ENV: 'development',
    ZERO_UPSTREAM_DB: database, ZERO_APP_PUBLICATIONS: 'zero_bench', ZERO_REPLICA_FILE: join(folder, 'replica.db'), ZERO_PORT: String(port),
    ZERO_CHANGE_STREAMER_PORT: String(await freePort()), ZERO_NUM_SYNC_WORKERS: '1', ZERO_ADMIN_PASSWORD: 'bench',
    ZERO_MUTATE_URL: `http://127.0.0.1:${endpoint.address().port}/mutate`, ZERO_ENABLE_CRUD_MUTATIONS: 'false',
  },
});
try {
  await until('zero-cache answers', 60, cache, async () => (await fetch(`http://127.0.0.1:${port}/keepalive`)).ok);
  const zero = new Zero({ schema, mutators, userID: 'bench', cacheURL: `http://127.0.0.1:${port}`, kvStore: 'mem', logLevel: 'error' });
  // One row first: the connection stands, and every statement has been made once.
  const confirmed = async (row) => {
    const answer = await zero.mutate(mutators.reading.insert(row)).server;
    if (answer.type === 'error') throw new Error(JSON.stringify(answer));
  };
  await confirmed(rows[0]);
  const begin = performance.now();
  for (let at = 1; at < rows.length; at += flight) await Promise.all(rows.slice(at, at + flight).map(confirmed));
  const seconds = (performance.now() - begin) / 1000;
  await zero.close();
  const { version } = JSON.parse(readFileSync(join(packages, 'node_modules/@rocicorp/zero/package.json')));
  console.log(JSON.stringify({ rows: rows.length, seconds, with: `@rocicorp/zero ${version}` }));
} finally {
  await stopped(cache);
  endpoint.close();
  endpoint.closeAllConnections();
  await sql.end();
  rmSync(folder, { recursive: true, force: true });
}
process.exit(0); // the client keeps timers
