// A page says how it fares, and the server's operators see it: from a real Chromium to the answer of /v1/admin/fleet.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dice, record } from './harness/rows.mjs';
import { World } from './harness/world.mjs';

test('what a page says of itself reaches the operators, with nothing to push and after a push', async (t) => {
  const world = await World.make(t);
  const token = await world.server.addOperator('Анна');
  const fleet = async () => {
    const answer = await fetch(`${world.server.url}/v1/admin/fleet`, { headers: { authorization: `Bearer ${token}` } });
    return answer.status === 200 ? answer.json() : null;
  };
  await world.until('the operator is let in', async () => (await fleet()) !== null);
  const seen = async () => (await fleet()).stations.find(({ name }) => name === 'tablet');
  /** The station, once it has said something after a time that satisfies. */
  const says = (what, is) => world.until(what, async () => {
    const station = await seen();
    return station?.reported_at_ms !== null && is(station) ? station : null;
  });

  const profile = await world.profile();
  const tab = await profile.tab(world.app.origin, world.options());
  const began_ms = Date.now();
  await tab.db('join', await world.server.addStation('tablet'));
  const idle = await says('the page says that it is there', () => true);
  const { state, pending, oldest_ms, last_push_ms, client_version, schema_version } = idle;
  assert.deepEqual({ state, pending, oldest_ms, last_push_ms, client_version, schema_version },
    { state: 'active', pending: 0, oldest_ms: null, last_push_ms: null, client_version: '0.1.0', schema_version: 1 });
  assert.ok(idle.reported_at_ms >= began_ms - 1000 && idle.last_contact_ms >= idle.reported_at_ms);
  assert.ok(Math.abs(idle.clock_offset_ms) < 10_000, `${idle.clock_offset_ms}`);
  // What the browser lets the page have: it is asked for when the page is opened, and may come after the first report.
  await record(tab, dice(7));
  await tab.statusThat((status) => status.safeToLeave);
  await tab.page.reload();
  await tab.open(world.options());
  const again = await says('the page says so again', (station) => station.reported_at_ms > idle.reported_at_ms && station.tidemark > 0);
  assert.equal(again.pending, 0);
  assert.ok(again.last_push_ms >= began_ms - 1000);
  const roomy = await says('the page says how much room it has', ({ free_disk_bytes }) => free_disk_bytes !== null);
  assert.ok(roomy.free_disk_bytes > 1e6, `${roomy.free_disk_bytes}`);
  assert.deepEqual(tab.uncaught, []);
});
