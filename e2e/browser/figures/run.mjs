// The browser's figures against their goals: sizes, opening, inserts beside npm @sqlite.org/sqlite-wasm, and how long the page's main
// thread is blocked while much is pushed. Prints a table of medians; exits with 1 when a goal is missed.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { startCluster } from '../harness/cluster.mjs';
import { dist, root } from '../harness/paths.mjs';
import { varied } from '../harness/schema.mjs';
import { World } from '../harness/world.mjs';

const rounds = Number(process.argv[2] ?? 7);
const bulkRows = 50_000;
const singleRows = 300;
const pushedRows = 50_000;

const kilobytes = (bytes) => Math.round(bytes / 100) / 10;
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

/** What a page downloads of the package, each file compressed by itself as a server sends it. */
function sizes() {
  const names = readdirSync(dist(), { recursive: true }).filter((name) => /\.(js|wasm)$/.test(name) && name !== 'service-worker.js');
  const files = names.map((name) => readFileSync(join(dist(), name)));
  const sum = (compress) => files.reduce((bytes, file) => bytes + compress(file).length, 0);
  return {
    raw: sum((file) => file),
    gzip: sum((file) => gzipSync(file, { level: 9 })),
    brotli: sum((file) => brotliCompressSync(file, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } })),
  };
}

/** From the first import in a fresh page to the first committed write, when database and package have been there before. */
async function opening(world, profile) {
  const times = [];
  for (let n = 0; n <= rounds; n += 1) {
    const tab = await profile.tab(world.app.origin);
    const time = await tab.run(async (options) => {
      const begin = performance.now();
      const { Tidemark } = await import('/tidemark/index.js');
      const db = await Tidemark.open(options);
      await db.insert('site', { name: 'первая' });
      const end = performance.now();
      await db.close();
      return end - begin;
    }, world.options({ name: 'opening' }));
    await tab.close();
    if (n > 0) times.push(time);
  }
  return median(times);
}

async function inserts(world, profile) {
  const tab = await profile.tab(world.app.origin);
  const ask = (message) => tab.run((data) => new Promise((resolve, reject) => {
    const worker = new Worker('/figures/worker.mjs', { type: 'module' });
    worker.onerror = (event) => reject(new Error(event.message));
    worker.onmessage = (event) => {
      worker.terminate();
      if (event.data.error) reject(new Error(event.data.error));
      else resolve(event.data.value);
    };
    worker.postMessage(data);
  }), { count: bulkRows, singles: singleRows, schema: varied.toml, ...message });
  const all = { plain: [], captured: [], theirs: [] };
  for (let round = 0; round <= rounds; round += 1) {
    const plain = await ask({ who: 'ours', table: 'plain', round });
    const theirs = await ask({ who: 'theirs', round, settings: plain.settings });
    const captured = await ask({ who: 'ours', table: 'reading', round });
    for (const [name, result] of Object.entries({ plain, theirs, captured })) {
      if (result.there !== bulkRows + singleRows) throw new Error(`${name}: ${result.there} rows instead of ${bulkRows + singleRows}`);
      // The first round warms up.
      if (round > 0) all[name].push(result);
    }
  }
  const rates = Object.fromEntries(Object.entries(all).map(([name, results]) => [name, {
    bulk: bulkRows / median(results.map(({ bulk }) => bulk)) * 1000,
    single: singleRows / median(results.map(({ single }) => single)) * 1000,
    settings: results[0].settings,
  }]));
  await tab.close();
  return rates;
}

/** The longest task of the main thread while `pushedRows` rows are pushed, as the browser reports long tasks, and the longest gap between two turns of its loop. */
async function blocking(world, profile) {
  const blocks = [];
  const gaps = [];
  const seconds = [];
  for (let round = 0; round < 3; round += 1) {
    const tab = await profile.tab(world.app.origin, world.options({ name: `push-${round}`, sync: 'manual' }));
    await tab.db('join', await world.server.addStation(`push-${round}`));
    await tab.run(async (count) => {
      await db.insert('site', { name: 'пост' });
      for (let from = 0; from < count; from += 5000) {
        await db.execMany('INSERT INTO reading (site_id, measured_at, temperature, count, note) VALUES (1, ?, ?, ?, ?)',
          Array.from({ length: 5000 }, (_, n) => [new Date(Date.UTC(2025, 0, 1) + (from + n) * 1000), (n / 7) % 50, from + n, `запись ${from + n}`]));
      }
    }, pushedRows);
    const seen = await tab.run(async () => {
      const tasks = [];
      const observer = new PerformanceObserver((list) => tasks.push(...list.getEntries().map(({ duration }) => duration)));
      observer.observe({ entryTypes: ['longtask'] });
      db.on('status', () => {});
      let gap = 0;
      let last = performance.now();
      let pushing = true;
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        const now = performance.now();
        gap = Math.max(gap, now - last);
        last = now;
        if (pushing) setTimeout(() => port2.postMessage(null), 1);
      };
      port2.postMessage(null);
      const begin = performance.now();
      const pushed = await db.push();
      pushing = false;
      const time = performance.now() - begin;
      tasks.push(...observer.takeRecords().map(({ duration }) => duration));
      return { outcome: pushed.outcome, block: Math.max(0, ...tasks), gap, time };
    });
    if (seen.outcome !== 'done') throw new Error(`the push ended as ${seen.outcome}`);
    blocks.push(seen.block);
    gaps.push(seen.gap);
    seconds.push(seen.time / 1000);
    await tab.close();
  }
  return { block: Math.max(...blocks), gap: Math.max(...gaps), seconds: median(seconds) };
}

const cluster = await startCluster();
process.env.TIDEMARK_E2E_CLUSTER = cluster.url;
const ends = [];
let missed = 0;
const lines = [];
const line = (what, value, goal = '', met = true) => {
  if (!met) missed += 1;
  lines.push([what, value, goal && `${goal} ${met ? 'met' : 'MISSED'}`]);
};
try {
  const world = await World.make({ after: (end) => ends.push(end) }, {
    folders: { '/figures/': import.meta.dirname, '/sqlite-wasm/': join(root, 'e2e/browser/node_modules/@sqlite.org/sqlite-wasm/dist') },
  });
  const profile = await world.profile();
  const version = (await profile.cdp.send('Browser.getVersion')).product;
  const size = sizes();
  line('download, wasm + js, gzip -9', `${kilobytes(size.gzip)} kB`, '≤ 560', kilobytes(size.gzip) <= 560);
  line('download, wasm + js, brotli 11', `${kilobytes(size.brotli)} kB`, '≤ 460', kilobytes(size.brotli) <= 460);
  line('the same, not compressed', `${kilobytes(size.raw)} kB`);
  const first = await opening(world, profile);
  line('import + open + first durable write, warm', `${Math.round(first)} ms`, '≤ 500', first <= 500);
  const rates = await inserts(world, profile);
  const perSecond = (rate) => `${Math.round(rate).toLocaleString('en')}/s`;
  const ratio = (name, way) => rates[name][way] / rates.theirs[way];
  for (const [way, title] of [['bulk', `one transaction of ${bulkRows.toLocaleString('en')} rows`], ['single', 'single-row transactions']]) {
    const judged = way === 'bulk';
    line(`inserts, ${title}: @sqlite.org/sqlite-wasm`, perSecond(rates.theirs[way]));
    for (const [name, what, goal] of [['plain', 'without capture', 1], ['captured', 'with capture', 0.6]]) {
      line(`inserts, ${title}: tidemark, ${what}`, `${perSecond(rates[name][way])} = ${ratio(name, way).toFixed(2)}`, judged ? `≥ ${goal.toFixed(1)}` : '', !judged || ratio(name, way) >= goal);
    }
  }
  const push = await blocking(world, profile);
  line(`longest block of the main thread, ${pushedRows.toLocaleString('en')} rows pushed`, push.block === 0 ? 'none over 50 ms' : `${Math.round(push.block)} ms`, '≤ 50 ms', push.block <= 50);
  line('longest gap between two turns of its loop', `${Math.round(push.gap)} ms`);
  line('the push itself', `${push.seconds.toFixed(1)} s`);

  const shown = (given) => Object.entries(given).map(([name, value]) => `${name}=${value}`).join(' ');
  console.log(`${version}, headless; medians of ${rounds} rounds after one to warm up, timed inside the worker; 3 pushes, the longest block of all`);
  console.log(`tidemark:                ${shown(rates.plain.settings)}\n@sqlite.org/sqlite-wasm: ${shown(rates.theirs.settings)}`);
  const width = (at) => Math.max(...lines.map((cells) => cells[at].length));
  for (const cells of lines) console.log(cells.map((cell, at) => (at === 0 ? cell.padEnd(width(0)) : cell.padStart(width(at)))).join('  ').trimEnd());
} finally {
  for (const end of ends) await end();
  await cluster.finish();
}
process.exitCode = missed > 0 ? 1 : 0;
