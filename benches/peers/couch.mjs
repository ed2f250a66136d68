// pouchdb-server, which speaks CouchDB's protocol, fed through `_bulk_docs`: a peer of scripts/compare.
//
//     node couch.mjs PACKAGES FILE LIMIT
//
// PACKAGES is the folder whose node_modules has pouchdb-server, FILE and LIMIT say which rows. The server is started in a
// temporary folder with its own store (LevelDB), and stopped. The rows are in memory when the clock starts. Prints JSON:
// rows, seconds, checksum of what `_all_docs` then answers, with.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { checksum, freePort, read, started, stopped, until } from './rows.mjs';

const [packages, file, limit] = process.argv.slice(2);
// Documents to a request. With 200 and with 5,000 it was no faster.
const bulk = 1000;

async function asked(url, options = {}) {
  const answer = await fetch(url, { ...options, headers: { 'content-type': 'application/json' } });
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

const rows = await read(file, Number(limit));
const folder = mkdtempSync(join(tmpdir(), 'tidemark-couch-'));
const port = await freePort();
const program = join(packages, 'node_modules/pouchdb-server/bin/pouchdb-server');
const server = await started(spawn, process.execPath, [program, '--port', String(port), '--host', '127.0.0.1',
  '--dir', folder, '--config', join(folder, 'config.json'), '--log-file', join(folder, 'log.txt')], { cwd: folder });
try {
  const url = `http://127.0.0.1:${port}/reading`;
  await until('pouchdb-server answers', 30, server, () => asked(`http://127.0.0.1:${port}/`));
  await asked(url, { method: 'PUT' });
  const begin = performance.now();
  for (let at = 0; at < rows.length; at += bulk) {
    const docs = rows.slice(at, at + bulk).map(({ id, ...rest }) => ({ _id: String(id), ...rest }));
    const answers = await asked(`${url}/_bulk_docs`, { method: 'POST', body: JSON.stringify({ docs }) });
    const refused = answers.find((answer) => !answer.ok);
    if (refused) throw new Error(`refused: ${JSON.stringify(refused)}`);
  }
  const seconds = (performance.now() - begin) / 1000;
  const stored = (await asked(`${url}/_all_docs?include_docs=true`)).rows.map(({ doc }) => ({ ...doc, id: Number(doc._id) }));
  const { version } = JSON.parse(readFileSync(join(packages, 'node_modules/pouchdb-server/package.json')));
  console.log(JSON.stringify({ rows: stored.length, seconds, checksum: checksum(stored), with: `pouchdb-server ${version}` }));
} finally {
  await stopped(server);
  rmSync(folder, { recursive: true, force: true });
}
