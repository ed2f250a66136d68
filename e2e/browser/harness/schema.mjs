// Reads the tables of a schema file: just enough to know which columns to compare, and how.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './paths.mjs';

/** A schema: its TOML text, its name, and per table the key and the columns with type and reference. */
export function readSchema(path) {
  const toml = readFileSync(join(root, path), 'utf8');
  const tables = {};
  let table;
  for (const line of toml.split('\n')) {
    const head = line.match(/^\[tables\.(\w+)(\.columns)?\]/);
    if (head) {
      table = tables[head[1]] ??= { name: head[1], key: 'id', columns: [] };
      continue;
    }
    const key = line.match(/^key\s*=\s*"(\w+)"/);
    if (key && table) table.key = key[1];
    const column = line.match(/^(\w+)\s*=\s*\{.*\btype\s*=\s*"(\w+)"/);
    if (column && table) table.columns.push({ name: column[1], type: column[2], references: line.match(/\breferences\s*=\s*"(\w+)"/)?.[1] });
  }
  return { toml, name: toml.match(/^name\s*=\s*"(\w+)"/m)[1], tables: Object.values(tables) };
}

/** Every column type. */
export const varied = readSchema('e2e/browser/varied.toml');
/** What is shipped, and what the notebook writes. */
export const shrinkage = readSchema('core/schemas/shrinkage.toml');
