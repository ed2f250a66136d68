// Runs the browser tests on one PostgreSQL cluster and prints, on its last line, how many passed, failed and were skipped.
// Arguments: names of test files to run (`tabs` for tabs.test.mjs); without any, all of them.
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { startCluster } from './harness/cluster.mjs';

const folder = import.meta.dirname;
const all = readdirSync(folder).filter((name) => name.endsWith('.test.mjs'));
const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !all.includes(`${name}.test.mjs`));
if (unknown.length > 0) {
  console.error(`no browser tests named ${unknown.join(', ')}; there are ${all.map((name) => name.replace('.test.mjs', '')).join(', ')}`);
  process.exit(2);
}
// The long ones first, so that no core is idle at the end.
const long = ['killed', 'tabs', 'fleet-look', 'volume', 'notebook', 'fleet'];
const rank = (name) => (long.indexOf(name) + 1) || long.length + 1;
const names = (wanted.length > 0 ? wanted : all.map((name) => name.replace('.test.mjs', ''))).sort((a, b) => rank(a) - rank(b));

const cluster = await startCluster();
process.env.TIDEMARK_E2E_CLUSTER = cluster.url;
// Each file drives a browser, a server and a database: more at once than there are cores would only wait for each other.
const tests = run({ files: names.map((name) => join(folder, `${name}.test.mjs`)), concurrency: Math.max(1, Math.min(4, availableParallelism())) });
const counts = { passed: 0, failed: 0, skipped: 0 };
const count = (kind) => (event) => {
  // A file is a test of its own to the runner; only those in it count, unless the file itself broke.
  const isFile = event.nesting === 0 && names.some((name) => event.name.endsWith(`${name}.test.mjs`));
  const isSuite = event.details?.type === 'suite';
  if (isSuite || (isFile && kind !== 'failed')) return;
  counts[event.skip !== undefined || event.todo !== undefined ? 'skipped' : kind] += 1;
};
tests.on('test:pass', count('passed')).on('test:fail', count('failed'));
for await (const text of tests.compose(new spec())) process.stdout.write(text);
await cluster.finish();
console.log(`browser tests: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exitCode = counts.failed > 0 || counts.passed === 0 ? 1 : 0;
