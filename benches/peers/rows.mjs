// The rows of scripts/compare in JavaScript: out of the CSV file, and the checksum that all sides take of them.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';

const columns = ['id', 'station', 'site_id', 'measured_at', 'temperature', 'humidity', 'pressure', 'note'];

/** The first `limit` rows of the file; times are milliseconds since 1970. No value of these rows needs quotes. */
export async function read(path, limit) {
  const rows = [];
  let head = true;
  for await (const line of createInterface({ input: createReadStream(path) })) {
    const cells = line.split(',');
    if (head) {
      if (cells.join() !== columns.join()) throw new Error(`the file's columns are ${line}`);
      head = false;
    } else if (rows.length < limit) {
      const [id, station, site_id, measured_at, temperature, humidity, pressure, note] = cells;
      rows.push({
        id: Number(id), station: Number(station), site_id: Number(site_id),
        measured_at: Date.parse(`${measured_at.replace(' ', 'T')}:00`),
        temperature: Number(temperature), humidity: Number(humidity), pressure: Number(pressure), note: note || null,
      });
    }
  }
  return rows;
}

const bits = new DataView(new ArrayBuffer(8));

/** A real number's bits, as PostgreSQL's float8send gives them. */
function real(value) {
  bits.setFloat64(0, value);
  return bits.getBigUint64(0).toString(16).padStart(16, '0');
}

/** The sum of each row's hash, which does not depend on their order; benches/src/bin/compare/checksum.rs says it. */
export function checksum(rows) {
  let sum = 0n;
  for (const row of rows) {
    const line = [row.id, row.station, row.site_id, BigInt(row.measured_at) * 1000n, real(row.temperature),
      real(row.humidity), real(row.pressure), row.note ?? '\\N'].join(',');
    sum += BigInt('0x' + createHash('sha256').update(line).digest('hex').slice(0, 12));
  }
  return String(sum);
}

/** A port of loopback that is free now. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Asks until `ready` says yes, for as many seconds; fails early when `child` has ended, with the end of its output. */
export async function until(what, seconds, child, ready) {
  const end = performance.now() + seconds * 1000;
  for (;;) {
    if (await ready().catch(() => false)) return;
    if (child && child.exitCode !== null) throw new Error(`${what}: the program ended with ${child.exitCode}: ${child.said()}`);
    if (performance.now() > end) throw new Error(`${what}: not within ${seconds} s: ${child ? child.said() : ''}`);
    await new Promise((go) => setTimeout(go, 50));
  }
}

// Who is told to stop takes the servers along: `started` ends them with this program.
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(1));

/** A server of a peer: keeps the end of what it prints, and ends with this program. */
export async function started(spawn, path, args, options) {
  const child = spawn(path, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => { output = (output + text).slice(-2000); });
  child.said = () => output.trim();
  child.on('error', (error) => { output += error; });
  process.on('exit', () => child.kill('SIGKILL'));
  return child;
}

/** Ends a server of a peer, gently first. */
export async function stopped(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
  await gone;
  clearTimeout(timer);
}
