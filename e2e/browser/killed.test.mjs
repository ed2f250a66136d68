// Thirty rounds: tabs write, one is killed at a random moment, and every write that was acknowledged is there, once.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dice } from './harness/rows.mjs';
import { assertSame } from './harness/upstream.mjs';
import { inTime, until } from './harness/wait.mjs';
import { World } from './harness/world.mjs';

const rounds = 30;
const seed = Number(process.env.TIDEMARK_E2E_SEED ?? 20_261_125);

/** Writes without end, in every way there is, and tells each acknowledged row by its note. */
function write(who) {
  const acknowledge = (...notes) => window.acknowledge(...notes);
  const sql = 'INSERT INTO reading (site_id, measured_at, note) VALUES (1, ?, ?)';
  const at = () => new Date();
  const ways = [
    async (note) => { await window.db.exec(sql, [at(), note]); return [note]; },
    async (note) => { await window.db.insert('reading', { site_id: 1, measured_at: at(), note }); return [note]; },
    async (note) => {
      const notes = Array.from({ length: 20 }, (_, n) => `${note}/${n}`);
      await window.db.execMany(sql, notes.map((each) => [at(), each]));
      return notes;
    },
    async (note) => {
      await window.db.transaction(async (tx) => {
        await tx.exec(sql, [at(), `${note}/a`]);
        await tx.insert('reading', { site_id: 1, measured_at: at(), note: `${note}/b` });
      });
      return [`${note}/a`, `${note}/b`];
    },
  ];
  (async () => {
    for (let n = 0; ; n += 1) {
      try {
        await acknowledge(...(await ways[n % ways.length](`${who} ${n}`)));
      } catch (error) {
        // Whose transaction was lost with the owner is told so; anything else is a failure of the test.
        if (error.code !== 'rolled-back') throw error;
      }
    }
  })().catch((error) => window.failed(`${who}: ${error.code} ${error.message}`));
}

test(`tabs killed in ${rounds} rounds while they write: what was acknowledged is there, nothing twice`, { timeout: 240_000 }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  const world = await World.make(t);
  const profile = await world.profile();
  const draw = dice(seed);
  const acknowledged = new Set();
  const failures = [];
  const listen = async () => {
    await profile.context.exposeFunction('acknowledge', (...notes) => notes.forEach((note) => acknowledged.add(note)));
    await profile.context.exposeFunction('failed', (message) => void failures.push(message));
  };
  await listen();
  const first = await profile.tab(world.app.origin, world.options());
  await first.db('insert', 'site', { name: 'пост' });
  const station = await first.db('join', await world.server.addStation('a'));
  await first.close();

  const kinds = { crash: 0, close: 0, 'browser killed': 0 };
  for (let round = 0; round < rounds; round += 1) {
    const tabs = [];
    for (let n = 0; n < 2; n += 1) tabs.push(await profile.tab(world.app.origin, world.options()));
    for (const [n, tab] of tabs.entries()) await tab.run(write, `${round}.${n}`);
    const enough = acknowledged.size + 30 + draw(200);
    await until(`acknowledged rows in round ${round}`, () => failures.length > 0 || acknowledged.size >= enough);
    // Owner and guest, crashed and closed, take turns; the moment is drawn.
    const victim = (round >> 1) % 2;
    const kind = round % 6 === 5 ? 'browser killed' : ['crash', 'close'][round % 2];
    kinds[kind] += 1;
    if (kind === 'browser killed') {
      await profile.kill();
      await profile.come();
      await listen();
      continue;
    }
    await (kind === 'crash' ? tabs[victim].crash() : tabs[victim].close());
    // The one that is left writes on, whether it was the owner or not.
    const more = acknowledged.size + 30;
    await until(`acknowledged rows after round ${round}'s ${kind} of ${victim === 0 ? 'the owner' : 'a guest'}`, () => failures.length > 0 || acknowledged.size >= more);
    await tabs[1 - victim].close();
  }
  assert.deepEqual(failures, []);
  const last = await profile.tab(world.app.origin, world.options());
  const notes = (await last.db('query', 'SELECT note FROM reading')).map(({ note }) => note);
  const there = new Set(notes);
  t.diagnostic(`${acknowledged.size} acknowledged, ${notes.length} there; ${JSON.stringify(kinds)}`);
  assert.deepEqual([...acknowledged].filter((note) => !there.has(note)), [], 'acknowledged and lost');
  assert.equal(there.size, notes.length, 'rows are doubled');
  // Transactions are whole or not there.
  const halves = notes.filter((note) => note.endsWith('/a') && !there.has(note.replace(/a$/, 'b')));
  assert.deepEqual(halves, []);
  await inTime('all of it upstream', last.db('push'));
  await last.statusThat((status) => status.safeToLeave);
  assert.equal(await assertSame(last, world.upstream, world.schema, station.number), notes.length + 1);
});
