// InfluxDB fed with line protocol, as Telegraf feeds it: a peer of scripts/compare.
//
//     node influx.mjs PROGRAM FILE LIMIT
//
// PROGRAM is influxd, FILE and LIMIT say which rows. It is started in a temporary folder, with an fsync for each write
// (its default), and stopped. The rows are in memory when the clock starts. Prints JSON: rows, seconds, checksum of what
// a query then answers, with.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { checksum, freePort, read, started, stopped, until } from './rows.mjs';

const [program, file, limit] = process.argv.slice(2);
// Lines to a request: Telegraf's metric_batch_size is 1,000, and InfluxDB's manual says 5,000 to 10,000.
const batch = 5000;

function line(row) {
  const note = row.note === null ? '' : `,note=${JSON.stringify(row.note)}`;
  return `reading,site_id=${row.site_id},station=${row.station} id=${row.id}i,temperature=${row.temperature},` +
    `humidity=${row.humidity},pressure=${row.pressure}${note} ${row.measured_at}`;
}

const rows = await read(file, Number(limit));
const folder = mkdtempSync(join(tmpdir(), 'tidemark-influx-'));
const port = await freePort();
writeFileSync(join(folder, 'config'), `
reporting-disabled = true
bind-address = "127.0.0.1:${await freePort()}"
[meta]
  dir = "${folder}/meta"
[data]
  dir = "${folder}/data"
  wal-dir = "${folder}/wal"
  query-log-enabled = false
[http]
  bind-address = "127.0.0.1:${port}"
  log-enabled = false
[monitor]
  store-enabled = false
`);
const server = await started(spawn, program, ['run', '-config', join(folder, 'config')], { cwd: folder });
try {
  const url = `http://127.0.0.1:${port}`;
  await until('influxd answers', 30, server, async () => (await fetch(`${url}/ping`)).ok);
  const made = await fetch(`${url}/query?q=${encodeURIComponent('CREATE DATABASE bench')}`, { method: 'POST' });
  if (!made.ok) throw new Error(await made.text());
  const begin = performance.now();
  for (let at = 0; at < rows.length; at += batch) {
    const body = rows.slice(at, at + batch).map(line).join('\n');
    const answer = await fetch(`${url}/write?db=bench&precision=ms`, { method: 'POST', body });
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  }
  const seconds = (performance.now() - begin) / 1000;
  const stored = [];
  const query = encodeURIComponent('SELECT * FROM reading');
  const answer = await fetch(`${url}/query?db=bench&epoch=ms&chunked=true&chunk_size=10000&q=${query}`);
  for (const text of (await answer.text()).trim().split('\n')) {
    for (const { columns, values } of JSON.parse(text).results.flatMap((result) => result.series ?? [])) {
      for (const cells of values) {
        const row = Object.fromEntries(columns.map((name, at) => [name, cells[at]]));
        stored.push({ ...row, measured_at: row.time, note: row.note ?? null });
      }
    }
  }
  const version = execFileSync(program, ['version'], { encoding: 'utf8' }).split(' ')[1];
  console.log(JSON.stringify({ rows: stored.length, seconds, checksum: checksum(stored), with: `InfluxDB ${version}` }));
} finally {
  await stopped(server);
  rmSync(folder, { recursive: true, force: true });
}
