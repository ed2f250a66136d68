// The notebook opens without a network by every address that leads to it with one.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { english, openNotebook } from './harness/notebook.mjs';
import { shrinkage } from './harness/schema.mjs';
import { until } from './harness/wait.mjs';
import { World } from './harness/world.mjs';

/** A notebook of which the device keeps all it needs, and no server any more. */
async function alone(t) {
  const world = await World.make(t, { schema: shrinkage });
  const profile = await world.profile();
  const { tab, reader } = await openNotebook(world, profile, english);
  await reader.pick('ЛЕЩ');
  await until('both service workers are there', () => tab.page.evaluate(async () => {
    const all = await navigator.serviceWorker.getRegistrations();
    return all.length === 2 && all.every(({ active }) => active?.state === 'activated');
  }));
  await world.server.kill();
  await profile.context.setOffline(true);
  return { world, profile, tab };
}

test('without a server it opens by its address with and without the last stroke, and by the server\'s own', async (t) => {
  const { world, tab } = await alone(t);
  for (const path of ['/notebook', '/', '/notebook?day=2#top', '/notebook/index.html']) {
    await tab.page.goto('about:blank');
    await tab.page.goto(world.server.url + path);
    await tab.page.locator('#light[data-level]:not([data-level=unknown])').waitFor();
    // The files of the page are found from there, and its records are there.
    await tab.page.getByRole('button', { name: english.change }).waitFor();
    const { pathname, search } = new URL(tab.page.url());
    assert.ok(['/notebook/', '/notebook/index.html'].includes(pathname), `${path} leads to ${pathname}`);
    assert.equal(search, new URL(path, world.server.url).search);
  }
});

test('a join link to one of them keeps its code without a server, too', async (t) => {
  const { world, tab } = await alone(t);
  await tab.page.goto('about:blank');
  await tab.page.goto(`${world.server.url}/notebook#join=tide1-0123`);
  await until('the code waits in its field', async () => (await tab.page.getByLabel(english.code).inputValue().catch(() => '')) === 'tide1-0123');
});

test('other addresses of the server are left to the network', async (t) => {
  const { world, tab } = await alone(t);
  for (const path of ['/healthz', '/admin', '/notebooks']) {
    await assert.rejects(tab.page.goto(world.server.url + path), /net::ERR_/, path);
  }
});

test('a page of somebody else\'s that has a service worker of its own for the whole server keeps it', async (t) => {
  const world = await World.make(t, { schema: shrinkage, folders: { '/notebook/': `${import.meta.dirname}/../../wasm-client/web/site/notebook` } });
  const profile = await world.profile();
  const tab = await profile.tab(world.app.origin);
  await tab.keepForOffline();
  await tab.page.goto(`${world.app.origin}/notebook/`);
  await tab.page.locator('#light[data-level]:not([data-level=unknown])').waitFor();
  const scripts = await until('the notebook has its own', () => tab.page.evaluate(async () => {
    const all = await navigator.serviceWorker.getRegistrations();
    return all.length > 1 && all.map(({ active, installing, waiting }) => new URL((active ?? waiting ?? installing).scriptURL).pathname).sort();
  }));
  assert.deepEqual(scripts, ['/notebook/sw.js', '/sw.js']);
});
