// Makes what wasm-bindgen made smaller to download: node shrink.mjs FOLDER OUT. Two things stand between the bytes of a module and those of its
// compressed copy: names with hashes, and functions that are alike and lie far apart.
import binaryen from 'binaryen';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Of wasm-opt's passes those that the compressed size gains by. Left out: inlining, common subexpressions and the order by calls; they make
 * a module shorter and its download longer. */
const PASSES = [
  'duplicate-function-elimination', 'optimize-instructions', 'remove-unused-brs', 'remove-unused-names', 'merge-blocks', 'precompute',
  'optimize-added-constants-propagate', 'simplify-locals-nostructure', 'vacuum', 'reorder-locals', 'merge-blocks', 'remove-unused-brs',
  'remove-unused-names', 'merge-blocks', 'code-folding', 'rse', 'vacuum', 'precompute-propagate', 'vacuum', 'optimize-instructions', 'vacuum',
  'coalesce-locals', 'vacuum', 'reorder-locals', 'duplicate-function-elimination', 'remove-unused-module-elements',
  // Alignment is a hint that engines do not look at.
  'dealign', 'reorder-functions-by-name', 'strip-producers', 'strip-target-features',
];
const { Features } = binaryen;
const FEATURES = Features.BulkMemory | Features.BulkMemoryOpt | Features.Multivalue | Features.MutableGlobals | Features.NontrappingFPToInt
  | Features.ReferenceTypes | Features.SignExt;

const [folder, out] = process.argv.slice(2);
if (!folder || !out) throw new Error('usage: node shrink.mjs FOLDER OUT');
const read = (name) => readFileSync(join(folder, name));
const write = (name, data) => writeFileSync(join(out, name), data);

/** Reads a section's numbers and names one after another. */
class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  get ended() { return this.at >= this.bytes.length; }

  number() {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.bytes[this.at++];
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  }

  take(length) { return this.bytes.subarray(this.at, this.at += length); }
  part() { return this.take(this.number()); }
  text() { return this.part().toString(); }
}

function number(value) {
  const bytes = [];
  for (; value > 0x7f; value = Math.floor(value / 0x80)) bytes.push(value % 0x80 | 0x80);
  return Buffer.from([...bytes, value]);
}

const part = (bytes) => Buffer.concat([number(bytes.length), bytes]);
const text = (value) => part(Buffer.from(value));
const list = (items) => Buffer.concat([number(items.length), ...items]);

const sections = [];
const module = new Reader(read('tidemark_wasm_bg.wasm'));
const header = module.take(8);
while (!module.ended) sections.push({ id: module.take(1)[0], body: module.part() });
const section = (id) => sections.find((one) => one.id === id);
const isNames = ({ id, body }) => id === 0 && new Reader(body).text() === 'name';

/** Imports get short names, here and in the script that gives them. */
let script = read('tidemark_wasm.js').toString();
const imports = new Reader(section(2).body);
const count = imports.number();
const short = [];
for (let n = 0; n < count; n += 1) {
  const [from, name, kind, type] = [imports.text(), imports.text(), imports.number(), imports.number()];
  if (kind !== 0) throw new Error(`${from} ${name} is no function`);
  const given = `i${n.toString(36)}`;
  const parts = script.split(new RegExp(`(?<=^\\s+)${name}(?=: )`, 'm'));
  if (parts.length !== 2) throw new Error(`the script has ${name} ${parts.length - 1} times`);
  script = parts.join(given);
  short.push(Buffer.concat([text(from), text(given), number(kind), number(type)]));
}
section(2).body = list(short);

/** C in the order of its source, then Rust by name, which brings together the copies of what is generic. */
const named = new Reader(sections.find(isNames).body);
named.text();
const names = new Map();
while (!named.ended) {
  const kind = named.number();
  const map = new Reader(named.part());
  if (kind === 1) for (let left = map.number(); left > 0; left -= 1) names.set(map.number(), map.text());
}
const code = new Reader(section(10).body);
const functions = Array.from({ length: code.number() }, (_, n) => {
  const name = names.get(count + n) ?? '';
  return { index: count + n, length: code.part().length, rust: /::|^<|^_/.test(name), name: name.replace(/\[\d+\]$/, '').replace(/::h[0-9a-f]{16}$/, '') };
});
functions.sort((a, b) => a.rust - b.rust || (a.rust ? (a.name < b.name ? -1 : a.name > b.name ? 1 : a.length - b.length) : 0) || a.index - b.index);
const ranks = [...functions.entries()].map(([rank, { index }]) => [index, `f${String(rank).padStart(6, '0')}`]).sort(([a], [b]) => a - b);
const renamed = list(ranks.map(([index, name]) => Buffer.concat([number(index), text(name)])));
sections.find(isNames).body = Buffer.concat([text('name'), number(1), part(renamed)]);

const shrunk = binaryen.readBinary(Buffer.concat([header, ...sections.flatMap(({ id, body }) => [Buffer.from([id]), part(body)])]));
shrunk.setFeatures(FEATURES);
binaryen.setOptimizeLevel(2);
binaryen.setShrinkLevel(1);
binaryen.setLowMemoryUnused(true);
binaryen.setDebugInfo(false);
shrunk.runPasses(PASSES);
if (!shrunk.validate()) throw new Error('the module is not valid');
write('tidemark_wasm_bg.wasm', shrunk.emitBinary());
write('tidemark_wasm.js', script);
