// The package as its users take it: by a bundler, on a strict page, by the example.
import assert from 'node:assert/strict';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { build, createServer } from 'vite';
import { Child, run } from './harness/child.mjs';
import { examples, pages, root } from './harness/paths.mjs';
import { varied } from './harness/schema.mjs';
import { freePort } from './harness/server.mjs';
import { until } from './harness/wait.mjs';
import { World } from './harness/world.mjs';

/** A project with the packed package in its node_modules, as `npm install` would leave it. */
async function project(world) {
  const folder = join(world.folder, 'app');
  const installed = join(folder, 'node_modules/tidemark');
  await mkdir(installed, { recursive: true });
  await cp(join(pages, 'vite'), folder, { recursive: true });
  await writeFile(join(folder, 'schema.toml'), varied.toml);
  await writeFile(join(folder, 'package.json'), '{ "name": "app", "private": true, "type": "module" }');
  await run('npm', ['pack', '--ignore-scripts', '--pack-destination', world.folder], { cwd: join(root, 'wasm-client/web') });
  await run('sh', ['-c', `tar -xzf "${world.folder}"/tidemark-*.tgz --strip-components 1 -C "${installed}"`]);
  return folder;
}

async function opensAndKeeps(tab) {
  await tab.until(() => document.querySelector('output').textContent === 'собрано');
  await tab.page.reload();
  await tab.until(() => document.querySelector('output').textContent === 'собрано');
  assert.equal((await tab.db('query', 'SELECT count(*) AS n FROM site'))[0].n, 2);
  assert.equal((await tab.db('status')).storage.kind, 'opfs');
  assert.deepEqual(tab.uncaught, []);
}

test('the packed package works in what Vite builds', async (t) => {
  const world = await World.make(t, { server: false });
  const folder = await project(world);
  await build({ root: folder, logLevel: 'warn' });
  const app = await world.otherApp({ '/': join(folder, 'dist') });
  const profile = await world.profile();
  await opensAndKeeps(await profile.tab(app.origin));
});

test('the packed package works in Vite\'s development server', async (t) => {
  const world = await World.make(t, { server: false });
  const vite = await createServer({
    root: await project(world), logLevel: 'warn',
    server: { host: '127.0.0.1', port: 0, hmr: false, watch: null },
  });
  t.after(() => vite.close());
  await vite.listen();
  const profile = await world.profile();
  await opensAndKeeps(await profile.tab(`http://127.0.0.1:${vite.httpServer.address().port}`));
});

test('a strict content security policy needs no hole but WebAssembly', async (t) => {
  const world = await World.make(t, { server: false });
  const profile = await world.profile();
  const tab = await profile.tab(`${world.app.origin}/strict.html`, world.options());
  await tab.db('insert', 'site', { name: 'строго' });
  assert.equal((await tab.db('query', 'SELECT count(*) AS n FROM site'))[0].n, 1);
});

test('the minimal example works as it says it is started', async (t) => {
  const html = await readFile(join(examples, 'browser-minimal/index.html'), 'utf8');
  assert.ok(html.split('\n').length < 60, 'it promises to be short');
  const port = await freePort();
  const origin = `http://localhost:${port}`;
  const toml = html.match(/schema = `([^`]*)`/)[1].replace(/^ +/gm, '');
  const world = await World.make(t, { schema: { toml, name: 'temperatures', tables: [] }, allow: [origin] });
  const http = new Child('python3', ['-m', 'http.server', String(port), '--bind', '127.0.0.1'], { cwd: root });
  t.after(() => http.kill());
  await until('the pages are served', () => fetch(`${origin}/examples/browser-minimal/`).then((answer) => answer.ok, () => false));

  const profile = await world.profile();
  const { page, uncaught } = await profile.tab(`${origin}/examples/browser-minimal/`);
  const record = async (celsius) => {
    await page.getByLabel('°C').fill(celsius);
    await page.getByRole('button', { name: 'Record' }).click();
    await page.getByRole('listitem').filter({ hasText: `${celsius} °C` }).waitFor();
  };
  await record('-18.5');
  await page.reload();
  await page.getByRole('listitem').filter({ hasText: '-18.5 °C' }).waitFor();
  await page.getByLabel('Join code').fill(await world.server.addStation('freezer'));
  await page.getByRole('button', { name: 'Join' }).click();
  await page.locator('#light.safe').waitFor();
  await record('-17.2');
  await until('both rows upstream', async () => (await world.upstream.count('temperature')) === 2);
  assert.deepEqual(await world.upstream.query('SELECT celsius FROM temperatures.temperature ORDER BY id'), [{ celsius: -18.5 }, { celsius: -17.2 }]);
  assert.deepEqual(uncaught, []);
});
