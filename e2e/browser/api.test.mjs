// The page's API as its types promise it.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { dice, record } from './harness/rows.mjs';
import { varied } from './harness/schema.mjs';
import { assertSame } from './harness/upstream.mjs';
import { World } from './harness/world.mjs';

/** A tab with the database open, and no server. */
async function lone(t, options) {
  const world = await World.make(t, { server: false });
  const profile = await world.profile();
  return profile.tab(world.app.origin, world.options(options));
}

test('values of every kind come back as they went in', async (t) => {
  const tab = await lone(t);
  const back = await tab.run(async () => {
    const when = new Date(Date.UTC(2025, 4, 6, 7, 8, 9, 123));
    const id = await db.insert('reading', {
      measured_at: when, temperature: 0.1 + 0.2, count: 9223372036854775807n, note: 'Ёж 🐟\u0000', ok: true,
      extra: JSON.stringify({ а: [1] }), raw: new Uint8Array([0, 255]), site_id: undefined, checked_at: null,
    });
    return (await db.query('SELECT * FROM reading WHERE id = :id', { id }))[0];
  });
  assert.deepEqual(back, {
    id: 1, site_id: null, measured_at: '2025-05-06 07:08:09.123000', temperature: 0.1 + 0.2, count: 9223372036854775807n, note: 'Ёж 🐟\u0000', ok: 1,
    extra: '{"а":[1]}', raw: new Uint8Array([0, 255]), tag_uid: null, checked_at: null,
  });
  const [numbers] = await tab.db('query', 'SELECT ? AS a, ? AS b, ? AS c, typeof(?) AS d, typeof(?) AS e', [2 ** 53 - 1, -(2n ** 63n), 1.5, 3, 3n]);
  assert.deepEqual(numbers, { a: 2 ** 53 - 1, b: -(2n ** 63n), c: 1.5, d: 'integer', e: 'integer' });
});

test('a column left out takes its default', async (t) => {
  const tab = await lone(t);
  const before = Date.now();
  await tab.db('insert', 'reading', {});
  const [{ measured_at: text }] = await tab.db('query', 'SELECT measured_at FROM reading');
  assert.match(text, /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}$/);
  assert.ok(Math.abs(Date.parse(`${text.replace(' ', 'T')}Z`) - before) < 60_000);
});

test('exec and execMany tell what they did, and execMany does all or nothing', async (t) => {
  const tab = await lone(t);
  assert.deepEqual(await tab.db('exec', 'INSERT INTO site (name) VALUES (?), (?)', ['а', 'б']), { changes: 2, lastInsertId: 2 });
  assert.deepEqual(await tab.db('execMany', 'INSERT INTO site (name) VALUES (:name)', [{ name: 'в' }, { name: 'г' }]), { changes: 2, lastInsertId: 4 });
  await assert.rejects(tab.db('execMany', 'INSERT INTO site (name) VALUES (?)', [['д'], [null]]), { code: 'constraint' });
  assert.deepEqual(await tab.db('query', 'SELECT count(*) AS n FROM site'), [{ n: 4 }]);
  assert.equal((await tab.db('exec', "UPDATE site SET name = name || '!' WHERE id > 1")).changes, 3);
});

test('a transaction is committed when its function resolves, and not when it throws', async (t) => {
  const tab = await lone(t);
  const value = await tab.run(() => db.transaction(async (tx) => {
    await tx.insert('site', { name: 'а' });
    await tx.execMany('INSERT INTO site (name) VALUES (?)', [['б'], ['в']]);
    return (await tx.query('SELECT count(*) AS n FROM site'))[0].n;
  }));
  assert.equal(value, 3);
  await assert.rejects(tab.run(() => db.transaction(async (tx) => {
    await tx.insert('site', { name: 'г' });
    throw new Error('doch nicht');
  })), { message: 'doch nicht' });
  // A statement that failed and was caught leaves the transaction usable.
  await tab.run(() => db.transaction(async (tx) => {
    await tx.exec('INSERT INTO site (name) VALUES (NULL)').catch(() => {});
    await tx.insert('site', { name: 'д' });
  }));
  assert.deepEqual((await tab.db('query', 'SELECT name FROM site')).map(({ name }) => name), ['а', 'б', 'в', 'д']);
  const late = await tab.run(async () => {
    let kept;
    await db.transaction(async (tx) => { kept = tx; });
    return kept.exec('DELETE FROM site').then(() => 'done', (error) => error.code);
  });
  assert.notEqual(late, 'done');
  assert.equal((await tab.db('query', 'SELECT count(*) AS n FROM site'))[0].n, 4);
});

test('errors carry a code for programs and words for people', async (t) => {
  const tab = await lone(t);
  const cases = [
    ['sql', 'exec', 'SELEKT 1'],
    ['sql', 'query', 'SELECT * FROM nowhere'],
    ['argument', 'query', 'DELETE FROM site'],
    ['constraint', 'exec', 'INSERT INTO site (name) VALUES (NULL)'],
    ['argument', 'exec', 'SELECT ?', [{}]],
    ['argument', 'insert', 'nowhere', { name: 'x' }],
    ['argument', 'insert', 'site', { nmae: 'x' }],
  ];
  for (const [code, ...call] of cases) {
    await assert.rejects(tab.db(...call), (error) => {
      assert.equal(error.name, 'TidemarkError', `${call}: ${error.name}`);
      assert.equal(error.code, code, `${call}: ${error.code}: ${error.message}`);
      assert.ok(error.message.length > 10, error.message);
      return true;
    });
  }
  assert.equal(await tab.run(() => db.exec('x').catch((error) => error instanceof Error)), true);
  assert.deepEqual(tab.uncaught, []);
});

test('open refuses what it cannot use', async (t) => {
  const world = await World.make(t, { server: false });
  const profile = await world.profile();
  const tab = await profile.tab(world.app.origin);
  await assert.rejects(tab.open({ name: 'no such/name', schema: world.schema.toml }), { code: 'argument' });
  await assert.rejects(tab.open({ name: 'fresh' }), { code: 'schema' });
  await assert.rejects(tab.open({ name: 'fresh', schema: 'name = ' }), { code: 'schema' });
  await assert.rejects(tab.open({ name: 'fresh', schema: world.schema.toml, wasm: '/nothing.wasm' }), { code: 'load' });
  await tab.open({ name: 'fresh', schema: world.schema.toml });
  await tab.db('close');
  await tab.open({ name: 'fresh' });
  await assert.rejects(tab.open({ name: 'fresh', schema: world.schema.toml.replace('name      = { type = "text"', 'name = { type = "real"') }), { code: 'schema' });
});

test('a newer version of the schema is followed, with what waits in the log', async (t) => {
  const world = await World.make(t);
  const profile = await world.profile();
  const tab = await profile.tab(world.app.origin, world.options());
  await record(tab, dice(3));
  await tab.db('close');
  await world.evolve(newer());
  await tab.open(world.options());
  await tab.db('insert', 'site', { name: 'с глубиной', depth: 4.5 });
  const station = await tab.db('join', await world.server.addStation('a'));
  await tab.statusThat((status) => status.safeToLeave);
  await assertSame(tab, world.upstream, world.schema, station.number);
  assert.deepEqual(await world.upstream.query("SELECT depth FROM varied.site WHERE name = 'с глубиной'"), [{ depth: 4.5 }]);
});

/** The schema with one more column. */
function newer() {
  const toml = varied.toml.replace('version = 1', 'version = 2').replace(/^height .*$/m, '$&\ndepth     = { type = "real" }');
  const tables = varied.tables.map((table) => (table.name === 'site' ? { ...table, columns: [...table.columns, { name: 'depth', type: 'real' }] } : table));
  return { ...varied, toml, tables };
}

test('a live query follows every commit and no rollback', async (t) => {
  const tab = await lone(t);
  await tab.run(() => {
    window.seen = [];
    window.end = db.liveQuery('SELECT count(*) AS n FROM site WHERE name LIKE ?', ['а%'], (rows) => window.seen.push(rows[0].n));
    db.liveQuery('SELECT nothing', undefined, () => {}, (error) => { window.refused = error.code; });
  });
  await tab.until(() => window.seen.at(-1) === 0 && window.refused === 'sql');
  await tab.db('insert', 'site', { name: 'аа' });
  await tab.until(() => window.seen.at(-1) === 1);
  await tab.run(() => db.transaction(async (tx) => {
    await tx.insert('site', { name: 'аб' });
    throw new Error('no');
  }).catch(() => {}));
  await tab.db('insert', 'site', { name: 'ав' });
  await tab.until(() => window.seen.at(-1) === 2);
  await tab.run(() => window.end());
  await tab.db('insert', 'site', { name: 'аг' });
  await tab.db('query', 'SELECT 1');
  assert.equal(await tab.run(() => Math.max(...window.seen)), 2);
});

test('after close everything says closed, and another open goes on', async (t) => {
  const tab = await lone(t);
  await tab.db('insert', 'site', { name: 'а' });
  await tab.db('close');
  await tab.db('close');
  for (const call of [['query', 'SELECT 1'], ['insert', 'site', { name: 'б' }], ['status'], ['push'], ['rejects'], ['export'], ['join', 'x']]) {
    await assert.rejects(tab.db(...call), { code: 'closed' }, String(call));
  }
  await assert.rejects(tab.run(() => db.transaction(async () => {})), { code: 'closed' });
  await tab.open(...tab.opened);
  assert.deepEqual(await tab.db('query', 'SELECT name FROM site'), [{ name: 'а' }]);
});

test('what is only here can be carried to the server as a file', async (t) => {
  const world = await World.make(t);
  const profile = await world.profile();
  const tab = await profile.tab(world.app.origin, world.options({ sync: 'manual' }));
  await record(tab, dice(6));
  await assert.rejects(tab.db('export'), { code: 'not-joined' });
  const station = await tab.db('join', await world.server.addStation('a'));
  const bytes = (what) => tab.run(async (kind) => new Uint8Array(await (await db.export({ what: kind })).arrayBuffer()), what);
  const bundle = join(world.folder, 'unsent.tidemark');
  await writeFile(bundle, await bytes('bundle'));
  await world.server.importBundle(bundle);
  await assertSame(tab, world.upstream, world.schema, station.number);
  const file = await bytes('database');
  assert.equal(Buffer.from(file.slice(0, 15)).toString(), 'SQLite format 3');
  // The station learns of it at its next push, and nothing is doubled.
  await tab.db('push');
  assert.equal((await tab.db('status')).safeToLeave, true);
  await assertSame(tab, world.upstream, world.schema, station.number);
});
