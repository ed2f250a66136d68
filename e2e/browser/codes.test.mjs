// Join codes that are not taken: each says what is wrong with it in the language of the page, and nothing in another.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { english, openNotebook, russian } from './harness/notebook.mjs';
import { shrinkage } from './harness/schema.mjs';
import { until } from './harness/wait.mjs';
import { World } from './harness/world.mjs';

const sentences = {
  'en-US': {
    none: /no join code/, truncated: /not whole/, unknown: /does not know this code/, used: /Another device has used this code/, expired: /time of this code is over/,
    away: /cannot be reached/,
  },
  'ru-RU': {
    none: /не код подключения/, truncated: /не целый/, unknown: /не знает этого кода/, used: /уже использован на другом устройстве/, expired: /Срок этого кода истёк/,
    away: /Сервер недоступен/,
  },
};

/** Words of the Latin alphabet in what a person sees, without names, addresses and what a code begins with. */
async function latin(page) {
  const text = (await page.locator('body').innerText()).replace(/https?:\S+|tide[12]-\S*/g, '');
  return [...text.matchAll(/[A-Za-z]{2,}/g)].map(([word]) => word).filter((word) => !['EN', 'RU'].includes(word));
}

for (const words of [english, russian]) {
  test(`every code that is not taken has its own sentence, and the next link is free of it, ${words.lang}`, async (t) => {
    const world = await World.make(t, { schema: shrinkage });
    const { server, upstream } = world;
    const codes = { none: 'привет' };
    for (const name of ['unknown', 'used', 'expired']) codes[name] = await server.addStation(name);
    codes.truncated = codes.unknown.slice(0, -6);
    await upstream.query("DELETE FROM tidemark.audit WHERE invited = 'unknown'");
    await upstream.query("DELETE FROM tidemark.station WHERE name = 'unknown'");
    await upstream.query("UPDATE tidemark.station SET code_expires_at = '2020-01-01' WHERE name = 'expired'");
    const other = await (await world.profile()).tab(world.app.origin, world.options({ server: server.url }));
    await other.db('join', codes.used);

    const profile = await world.profile({ lang: words.lang });
    const { tab, reader: { page } } = await openNotebook(world, profile, words);
    const error = page.locator('#join-error');
    const said = {};
    /** The link that the office gave, followed in the page that is open. */
    const follow = async (code) => {
      await page.evaluate((given) => { location.hash = `#join=${encodeURIComponent(given)}`; }, code);
      await until('the code of the link is in its field', async () => (await page.getByLabel(words.code).inputValue()) === code);
      assert.equal(await error.innerText(), '', 'what was said of the code before stands beside the new one');
    };
    const join = () => page.getByRole('dialog').getByRole('button', { name: words.join, exact: true }).click();
    for (const what of ['none', 'truncated', 'unknown', 'used', 'expired']) {
      await follow(codes[what]);
      await join();
      await error.filter({ hasText: sentences[words.lang][what] }).waitFor();
      said[what] = await error.innerText();
      if (words === russian) assert.deepEqual(await latin(page), [], `${what}: ${said[what]}`);
    }
    assert.equal(new Set(Object.values(said)).size, 5, JSON.stringify(said));

    const good = await server.addStation('склад');
    await server.kill();
    await follow(good);
    await join();
    await error.filter({ hasText: sentences[words.lang].away }).waitFor();
    if (words === russian) assert.deepEqual(await latin(page), []);
    await server.restart();
    await join();
    await page.getByRole('dialog').getByText(words.joined).first().waitFor();
    assert.deepEqual(tab.uncaught, []);
  });
}

test('a page says why to programs, and a lost join is told from a used code', async (t) => {
  const world = await World.make(t);
  const [first, second] = [await world.server.addStation('a'), await world.server.addStation('b')];
  const wire = await world.wire();
  const profile = await world.profile();
  const tab = await profile.tab(world.app.origin, world.options({ server: wire.url }));
  const reason = async (code) => tab.run((given) => window.db.join(given).then(() => 'joined', (error) => error.reason ?? error.code), code);
  assert.deepEqual([await reason('x'), await reason(first.slice(0, 40)), await reason(first.slice(0, 3))], ['form', 'damaged', 'damaged']);
  wire.mode = 'hold-replies';
  const lost = reason(first);
  await world.until('the code is used', async () => (await world.upstream.query('SELECT 1 FROM tidemark.station WHERE joined_at IS NOT NULL')).length > 0);
  wire.cut();
  assert.equal(await lost, 'unreachable');
  wire.restore();
  // Another code than the first: the server knows this database by that one.
  assert.equal(await reason(second), 'joined-before');
  const stranger = await (await world.profile()).tab(world.app.origin, world.options());
  assert.equal(await stranger.run((given) => window.db.join(given).catch((error) => error.reason), first), 'used');
});

test('the Russian page shows no English before its programs are there', async (t) => {
  const world = await World.make(t, { schema: shrinkage });
  const profile = await world.profile({ lang: russian.lang });
  const tab = await profile.tab('about:blank');
  await tab.page.route('**/app.js', (route) => route.abort());
  await tab.page.goto(`${world.server.url}/notebook/`);
  assert.deepEqual(await latin(tab.page), []);
});

test('on the Russian page nothing is English: without a network, refused, stopped, with a rejected change', async (t) => {
  const world = await World.make(t, { schema: shrinkage });
  const profile = await world.profile({ lang: russian.lang });
  const { reader, reader: { page }, tab } = await openNotebook(world, profile, russian);
  await reader.join(await world.server.addStation('склад'));
  await reader.headline(russian.safe);
  await world.upstream.query(`ALTER TABLE ${world.schema.name}.calculation_data ADD CONSTRAINT not_three CHECK (initial_balance <> 3)`);
  await reader.pick('ЛЕЩ');
  await reader.fill({ initial: '3', final: '2', days: '1' });
  await reader.save();
  await reader.headline(russian.rejected);
  const looked = async (what, work = async () => {}) => reader.device(async (dialog) => {
    await work(dialog);
    assert.deepEqual(await latin(page), [], what);
  });
  await looked('with a rejected change');
  await profile.context.setOffline(true);
  await world.server.kill();
  const send = async (dialog) => {
    await dialog.getByRole('button', { name: russian.again, exact: true }).click();
    await until('it says what came of it', async () => /\./.test(await page.locator('#send-outcome').innerText()));
  };
  await looked('without a network', send);
  await world.server.restart();
  await profile.context.setOffline(false);
  await world.server.revokeStation('склад');
  await looked('revoked', send);
  for (const view of ['entry', 'day', 'history']) {
    await reader.go(view);
    assert.deepEqual(await latin(page), [], view);
  }
  assert.deepEqual(tab.uncaught, []);
});
