// What a person does with a rejected change, and what the light says of it: in automatic mode nothing else moves the sending along.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { english, openNotebook } from './harness/notebook.mjs';
import { shrinkage } from './harness/schema.mjs';
import { until } from './harness/wait.mjs';
import { World } from './harness/world.mjs';

/** A notebook that has joined, with one record that a rule of the operator's refuses. */
async function withReject(t) {
  const world = await World.make(t, { schema: shrinkage });
  const rules = `${world.schema.name}.calculation_data`;
  await world.upstream.query(`ALTER TABLE ${rules} ADD CONSTRAINT not_three CHECK (initial_balance <> 3)`);
  const profile = await world.profile();
  const { tab, reader } = await openNotebook(world, profile, english);
  await reader.join(await world.server.addStation('a'));
  await reader.pick('ЛЕЩ');
  await reader.fill({ initial: '3', final: '2', days: '1' });
  await reader.save();
  await reader.headline(english.rejected);
  const allow = () => world.upstream.query(`ALTER TABLE ${rules} DROP CONSTRAINT not_three`);
  const press = (...names) => reader.device(async (dialog) => {
    for (const name of names) await dialog.getByRole('button', { name, exact: true }).click();
    await dialog.getByText(/Sent again|Discarded/).first().waitFor();
  });
  return { world, tab, reader, allow, press };
}

test('sent again as it is, a rejected change goes at once, and the light says what came of it', async (t) => {
  const { world, tab, reader, allow, press } = await withReject(t);
  await allow();
  await press('Send again as it is');
  await reader.headline(english.safe);
  assert.equal(await world.upstream.count('calculation_data'), 1);
  assert.deepEqual(tab.uncaught, []);
});

test('sent again as it is and refused once more, it is in the list again, and the light still asks for repair', async (t) => {
  const { tab, reader, press } = await withReject(t);
  const region = reader.page.getByRole('region', { name: english.rejects });
  const seq = () => region.locator('#rejects > li').first().getAttribute('data-key');
  await reader.page.locator('#light').click();
  const before = await seq();
  await reader.page.getByRole('dialog').getByRole('button', { name: english.close, exact: true }).click();
  await press('Send again as it is');
  await reader.page.locator('#light').click();
  await until('the new change is the one in the list', async () => (await region.locator('#rejects > li').count()) === 1 && (await seq()) !== before);
  await reader.headline(english.rejected);
  assert.deepEqual(tab.uncaught, []);
});

test('a rejected change that is given up is off the light at once', async (t) => {
  const { world, tab, reader, press } = await withReject(t);
  await press('Discard', 'Yes, discard');
  await reader.headline(english.safe);
  assert.equal(await reader.page.locator('#light').getAttribute('data-level'), 'safe');
  assert.equal(await world.upstream.count('calculation_data'), 0);
  assert.deepEqual(tab.uncaught, []);
});

test('a page that offers repair itself hears of both at once, in every tab', async (t) => {
  const world = await World.make(t, { schema: shrinkage });
  const profile = await world.profile();
  const tab = await profile.tab(world.app.origin, world.options());
  await tab.db('join', await world.server.addStation('a'));
  const other = await profile.tab(world.app.origin, world.options());
  for (const initial of [1, 2]) {
    await tab.db('exec', `INSERT INTO calculation_data (initial_balance, final_balance, calculation_date) VALUES (${initial}, 1, '9999-01-01 00:00:00')`);
  }
  await other.statusThat((status) => status.rejects === 2 && status.pending === 0);
  const [first, second] = await tab.db('rejects');
  await tab.db('discard', first.seq);
  await other.statusThat((status) => status.rejects === 1);
  await tab.db('requeue', second.seq);
  // Refused again, under a new number.
  const { rejects, lastSeq } = await other.statusThat((status) => status.pending === 0 && status.tidemark === 3);
  assert.deepEqual([rejects, lastSeq], [1, 3]);
});
