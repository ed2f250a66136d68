// Puts the package (dist/) and the served site (site/) together, compresses the site, and prints what a browser downloads.
// Called by scripts/build-web: node build.mjs FOLDER-OF-THE-MODULE SCHEMA
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { transformSync } from 'esbuild';

/** Smaller files are not worth a compressed copy. */
const COMPRESSED_BYTES_MIN = 1024;
/** Compressed already. */
const PACKED = /\.(png|webp|jpg|woff2)$/;

const web = dirname(fileURLToPath(import.meta.url));
const [module, schema] = process.argv.slice(2);
if (!module || !schema) throw new Error('usage: node build.mjs FOLDER-OF-THE-MODULE SCHEMA');

/** Every file below a folder, by its path there, without dotfiles. */
function files(folder, under = folder) {
  if (!existsSync(folder)) return new Map();
  return new Map(readdirSync(folder, { withFileTypes: true }).filter(({ name }) => !name.startsWith('.')).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? [...files(path, under)] : [[relative(under, path), readFileSync(path)]];
  }).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Makes a folder hold exactly these files; what is there already is not written again. */
function fill(folder, wanted) {
  for (const [name, is] of files(folder)) if (!wanted.get(name)?.equals(is)) rmSync(join(folder, name));
  for (const [name, bytes] of wanted) {
    const path = join(folder, name);
    if (existsSync(path)) continue;
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, bytes);
  }
}

/**
 * What the notebook's service worker keeps (notebook/sw.js): every file but the workers' own, with its hash, so that files of two versions
 * never mix; the version is a hash of them all.
 */
function precache(site) {
  const hash = (bytes) => createHash('sha256').update(bytes).digest();
  const kept = [...site].map(([name, bytes]) => [relative('notebook', name), bytes])
    .filter(([name]) => !['sw.js', 'precache.js', 'door.js'].includes(name))
    .map(([name, bytes]) => ({ url: name === 'index.html' ? './' : name, integrity: `sha256-${hash(bytes).toString('base64')}` }));
  const version = hash(JSON.stringify(kept)).toString('hex').slice(0, 16);
  return Buffer.from(`export const version = '${version}';\nexport const files = ${JSON.stringify(kept, null, 1)};\n`);
}

const gzip = (bytes) => gzipSync(bytes, { level: 9 });
const brotli = (bytes) => brotliCompressSync(bytes, {
  params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length },
});

/** A script as small as it gets by itself: what it imports and exports, and what its classes are called, stays. Bundlers find the same files as in src. */
const terse = (script) => Buffer.from(transformSync(script.toString(), { minify: true, charset: 'utf8', target: 'es2022' }).code);

const dist = files(join(web, 'src'));
dist.set('tidemark_wasm.js', readFileSync(join(module, 'tidemark_wasm.js')));
for (const [name, bytes] of dist) if (name.endsWith('.js')) dist.set(name, terse(bytes));
dist.set('tidemark_wasm_bg.wasm', readFileSync(join(module, 'tidemark_wasm_bg.wasm')));
fill(join(web, 'dist'), dist);

const site = new Map();
for (const [name, bytes] of files(join(web, 'notebook'))) site.set(join('notebook', name), bytes);
for (const [name, bytes] of dist) if (!name.endsWith('.d.ts')) site.set(join('notebook', 'tidemark', name), bytes);
site.set(join('notebook', 'schema.toml'), readFileSync(schema));
site.set(join('notebook', 'precache.js'), precache(site));

// A copy that was compressed from the same bytes is kept: brotli at its best takes seconds.
const before = files(join(web, 'site'));
const sizes = new Map();
for (const [name, bytes] of [...site]) {
  const pack = bytes.length > COMPRESSED_BYTES_MIN && !PACKED.test(name);
  const kept = (end, compress) => (before.get(name)?.equals(bytes) && before.get(name + end)) || compress(bytes);
  const [gz, br] = pack ? [kept('.gz', gzip), kept('.br', brotli)] : [bytes, bytes];
  sizes.set(name, [bytes.length, gz.length, br.length]);
  if (pack) site.set(`${name}.gz`, gz).set(`${name}.br`, br);
}
fill(join(web, 'site'), site);

const row = (name, numbers) => console.log(`${name.padEnd(44)}${numbers.map((n) => n.toLocaleString('en').padStart(12)).join('')}`);
const sum = (chosen) => [...sizes].filter(([name]) => chosen(name)).reduce((total, [, of]) => total.map((n, i) => n + of[i]), [0, 0, 0]);
console.log(`${'bytes'.padEnd(44)}${['raw', 'gzip -9', 'brotli 11'].map((n) => n.padStart(12)).join('')}`);
for (const [name, numbers] of sizes) row(name, numbers);
// The service worker's part is for pages that want one.
const isPackage = (name) => name.startsWith(join('notebook', 'tidemark')) && !name.endsWith('service-worker.js');
row('the package (wasm + js)', sum(isPackage));
row('the page with it', sum(() => true));
