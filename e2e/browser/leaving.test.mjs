// The page goes away with changes that were not sent yet.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inTime, until } from './harness/wait.mjs';
import { World } from './harness/world.mjs';

/** A page with one change that waits for the network, which is back, while the next attempt is far away: what arrives is not that. */
async function waiting(t) {
  const world = await World.make(t);
  const wire = await world.wire();
  const profile = await world.profile();
  const tab = await profile.tab(world.app.origin, world.options());
  const station = await tab.db('join', await world.server.addStation('a', wire.url));
  await tab.statusThat((status) => status.safeToLeave);
  wire.cut();
  await tab.db('insert', 'site', { name: 'на прощание' });
  const { sync } = await tab.statusThat((status) => status.sync.state === 'waiting' && status.sync.retryAt - Date.now() > 5000, 60_000);
  wire.restore();
  const arrived = () => until('the row is upstream', async () => (await world.upstream.count('site', station.number)) === 1);
  return { world, profile, tab, station, arrived, retryAt: sync.retryAt };
}

test('pagehide sends what waits: it is upstream without the page being there, and nothing is doubled', async (t) => {
  const { world, tab, station, arrived, retryAt } = await waiting(t);
  await tab.page.goto('about:blank');
  assert.ok(Date.now() < retryAt, 'the machine is too slow: the page was there for its next attempt');
  await arrived();
  // The station does not know yet, and asks.
  await tab.page.goto(world.app.origin);
  await tab.open(world.options());
  await tab.db('push');
  assert.equal((await tab.statusThat((status) => status.safeToLeave)).pending, 0);
  assert.equal(await world.upstream.count('site', station.number), 1);
});

test('closing the tab sends what waits, too', async (t) => {
  const { tab, arrived, retryAt } = await waiting(t);
  const closed = new Promise((resolve) => tab.page.once('close', resolve));
  await tab.page.close({ runBeforeUnload: true });
  await inTime('the tab closes', closed);
  assert.ok(Date.now() < retryAt, 'the machine is too slow: the page was there for its next attempt');
  await arrived();
});
