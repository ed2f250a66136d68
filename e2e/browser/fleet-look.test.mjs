// The fleet page as it looks: who is silent comes first, in both languages, on a phone and at a desk, light and dark, by keyboard and for a
// screen reader, with two thousand stations, with names that would do harm, behind a proxy.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { assertCalm, english, go, HOSTILE, names, openPage, populate, refresh, russian, signIn, sticksOut } from './harness/fleet.mjs';
import { shrinkage } from './harness/schema.mjs';
import { World } from './harness/world.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core'), 'utf8');

/** What axe finds against WCAG 2.1 A and AA, contrast included, and good practice. */
async function barriers(tab) {
  if (!(await tab.page.evaluate(() => 'axe' in window))) await tab.cdp.send('Runtime.evaluate', { expression: axe });
  return tab.page.evaluate(async () => {
    const { violations } = await window.axe.run(document);
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html.slice(0, 200)} ${failureSummary}`).slice(0, 3).join(' | ')}`);
  });
}

/** Every view, and the questions that stand over it. */
const PLACES = ['#/stations', '#/stations/2', '#/rejects', '#/ingest?hours=168', '#/database', '#/audit', '#/nowhere'];

/** A reject that no station has to make: rows that only the page reads. */
const reject = (world) => world.upstream.query(
  `INSERT INTO tidemark.rejects (station, seq, at, received_at, tbl, op, code, message, image, origin)
   SELECT 2, seq, now(), now(), 'calculation_data', 'insert', 'clock', 'a date', '{"id": 1, "note": "<b>\u202E"}', 'server' FROM generate_series(1, 3) AS seq`);

for (const [words, scheme] of [[english, 'light'], [russian, 'dark']]) {
  test(`the page in ${words.lang}, ${words.view.width} wide, ${scheme}`, async (t) => {
    const world = await World.make(t, { schema: shrinkage });
    const token = await world.server.addOperator('Анна');
    const profile = await world.profile({ lang: words.lang });
    await populate(world.upstream);
    await reject(world);
    const { tab, page } = await openPage(world, profile, words);
    await page.emulateMedia({ colorScheme: scheme });
    await page.getByLabel(words.token).waitFor();

    await t.test('asks for the token in the browser’s language, without a barrier', async () => {
      assert.equal(await page.evaluate(() => document.documentElement.lang), words.lang.slice(0, 2));
      assert.deepEqual(await barriers(tab), []);
      await signIn(page, words, token);
    });

    await t.test('says first who is silent and since when', async () => {
      const silent = page.locator('main section').first();
      await silent.getByRole('heading', { name: words.silent }).waitFor();
      const told = await silent.getByRole('listitem').allInnerTexts();
      assert.equal(told.length, 2);
      assert.match(told[0].replace(/\s+/g, ' '), /^Кольский рыбокомбинат, цех посола № 2 3 (days|дн\.) 4 (hrs|ч) (since|с) /, 'the longest silent comes first');
      await silent.getByText(words.pending).waitFor();
      assert.equal((await names(page))[0], 'Кольский рыбокомбинат, цех посола № 2');
      const row = page.locator('.stations tbody tr').first();
      assert.match((await row.innerText()).replace(/\s/g, ' '), new RegExp(`${words.never}.*1.840.*−3.*400`));
    });

    await t.test('marks on the station’s page what alerts fire at', async () => {
      await go(page, '#/stations/2');
      await page.locator('.facts .bad').first().waitFor();
      const bad = await page.locator('.facts .bad').allInnerTexts();
      assert.equal(bad.length, 3, `late, low on disk, with rejects; a clock 3 minutes off is no concern: ${bad}`);
      await go(page, '#/stations/4');
      await page.getByRole('heading', { name: /ОченьДлинноеИмя/, level: 1 }).waitFor();
      assert.equal(await page.locator('.facts .bad').count(), 0);
      await go(page, '#/stations');
      await page.locator('.stations').waitFor();
    });

    await t.test('shows a hostile name as text, and its direction does not leave it', async () => {
      const link = page.locator('.stations').getByRole('link', { name: 'gnp.exe' });
      assert.equal(await link.textContent(), HOSTILE);
      assert.equal(await link.locator('bdi').evaluate((node) => getComputedStyle(node).unicodeBidi), 'isolate');
      assert.deepEqual(await page.evaluate(() => [window.hit, document.querySelectorAll('img').length]), [undefined, 1]);
    });

    await t.test('has no barrier and nothing that sticks out, in any view and question', async () => {
      for (const place of PLACES) {
        if (place === '#/nowhere') await page.evaluate((to) => { location.hash = to; }, place);
        else await go(page, place);
        const show = page.locator('.rejects .act button').first();
        if (await show.isVisible()) {
          await show.click();
          await page.locator('.image dl').waitFor();
        }
        assert.deepEqual(await barriers(tab), [], place);
        for (const width of [words.view.width, 320]) {
          await page.setViewportSize({ width, height: words.view.height });
          assert.deepEqual(await sticksOut(page), [], `${place}, ${width} wide`);
        }
        await page.setViewportSize(words.view);
      }
      for (const [place, id] of [['#/stations', 'invite'], ['#/stations/2', 'revoke'], ['#/stations/2', 'rotate'], ['#/stations/2', 'rename']]) {
        await go(page, place);
        await page.locator(`#${id}`).click();
        await page.getByRole('dialog').waitFor();
        assert.deepEqual(await barriers(tab), [], id);
        assert.deepEqual(await sticksOut(page), [], id);
        await page.keyboard.press('Escape');
        await page.getByRole('dialog').waitFor({ state: 'detached' });
      }
    });

    await t.test('is in the colours that the viewer wants', async () => {
      const light = await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor.match(/\d+/g).map(Number).every((part) => part > 128));
      assert.equal(light, scheme === 'light');
    });

    await t.test('changes its language where it stands, and remembers it', async () => {
      await go(page, '#/stations?state=silent');
      await page.getByRole('button', { name: words.other }).click();
      await page.getByRole('heading', { name: words.otherTitle, level: 1 }).waitFor();
      assert.equal((await names(page)).length, 2);
      await page.reload();
      await page.locator('.stations tbody tr').first().waitFor();
      assert.equal(await page.locator('h1').innerText(), words.otherTitle);
      assert.equal((await names(page)).length, 2);
    });
    await assertCalm(tab);
  });
}

test('the page by keyboard alone, while it refreshes itself', async (t) => {
  const world = await World.make(t, { schema: shrinkage });
  const token = await world.server.addOperator('Анна');
  await populate(world.upstream);
  const profile = await world.profile();
  const { tab, page } = await openPage(world, profile, english);
  const press = async (...keys) => { for (const key of keys) await page.keyboard.press(key); };
  const focused = () => page.evaluate(() => document.activeElement.innerText || document.activeElement.getAttribute('aria-label') || document.activeElement.id);
  /** Goes on with Tab until something has the focus. */
  const tabTo = async (what, key = 'Tab') => {
    for (let i = 0; i < 60; i += 1) {
      await press(key);
      if (what.test(await focused())) return;
    }
    assert.fail(`${what} is never reached`);
  };
  await page.getByLabel(english.token).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.type), 'password', 'one can type at once');
  await page.keyboard.type(token);
  await press('Enter');
  await page.locator('.stations').waitFor();
  assert.equal(await focused(), english.stations, 'the heading of the new view has the focus');

  await t.test('the way to the content is the first stop', async () => {
    await page.reload();
    await page.locator('.stations').waitFor();
    await press('Tab');
    assert.equal(await focused(), 'Skip to the content');
    const box = await page.locator('#skip').boundingBox();
    assert.ok(box.y >= 0, 'it is in view');
    await press('Enter');
    assert.equal(await focused(), english.stations);
    await press('Tab');
    assert.equal(await focused(), 'Invite a station');
  });

  await t.test('the list is searched and sorted, and a refresh moves nothing', async () => {
    await page.getByRole('searchbox').focus();
    await page.keyboard.type('l');
    assert.equal(await page.getByRole('status').filter({ hasText: /stations? of 6/ }).count(), 1);
    await page.evaluate(() => { window.row = document.querySelector('.stations tbody tr'); });
    await page.keyboard.type('os');
    await world.upstream.query("UPDATE tidemark.contact SET pending = 77 WHERE station = 5");
    await refresh(page);
    await page.getByRole('row', { name: /lost-tablet.*77/ }).waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.id), 'search');
    await page.keyboard.type('t');
    assert.equal(await page.getByRole('searchbox').inputValue(), 'lost', 'what is typed goes on where it was');
    await press('Control+A', 'Delete');
    await tabTo(/^Station$/);
    await press('Enter');
    assert.equal(await page.locator('th[aria-sort=ascending]').innerText(), 'Station');
    const sorted = await names(page);
    assert.deepEqual(sorted, [...sorted].sort(new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' }).compare));
    await press('Enter');
    assert.equal(await page.locator('th[aria-sort=descending]').innerText(), 'Station');
    assert.deepEqual(await names(page), sorted.reverse());
    assert.equal(await focused(), 'Station', 'the focus stays on what was pressed');
  });

  await t.test('a question is left by Escape, and the focus is where it was', async () => {
    await go(page, '#/stations/2');
    await tabTo(/^Revoke$/);
    await press('Enter');
    await page.getByRole('dialog').waitFor();
    assert.equal(await focused(), 'Cancel');
    for (let i = 0; i < 6; i += 1) {
      await press('Tab');
      const inside = await page.evaluate(() => document.activeElement === document.body || document.activeElement.closest('dialog') !== null);
      assert.ok(inside, 'the focus does not leave the question');
    }
    await press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    assert.equal(await focused(), 'Revoke');
  });

  await t.test('every refreshed place is told by its title, and going back comes back', async () => {
    for (const [at, name] of [['#/rejects', 'Rejects'], ['#/audit', 'Acts']]) {
      await go(page, at);
      assert.equal(await page.title(), `${name} · Tidemark`);
      assert.equal(await page.locator('nav [aria-current=page]').innerText(), name);
    }
    await page.goBack();
    await page.getByRole('heading', { name: 'Rejected changes', level: 1 }).waitFor();
  });

  await t.test('a server that is gone is told, and what was there stays', async () => {
    await go(page, '#/stations');
    await world.server.kill();
    await refresh(page);
    await page.getByRole('alert').filter({ hasText: 'cannot be reached' }).waitFor();
    assert.equal((await names(page)).length, 6);
    await page.getByText(/^Not refreshed since/).waitFor();
    await world.server.restart();
    await refresh(page);
    await page.getByRole('alert').waitFor({ state: 'detached' });
  });
  await assertCalm(tab);
});

test('times are told by the server’s clock, also in a browser whose own is five hours ahead', async (t) => {
  const world = await World.make(t, { schema: shrinkage });
  const token = await world.server.addOperator('Анна');
  await populate(world.upstream);
  await world.upstream.query('INSERT INTO tidemark.backup (at, file, size_bytes, checked_at, restored) VALUES (now() - interval \'2 hours\', \'hq.dump\', 1000, now(), true)');
  for (const [place, told] of [['#/stations/2', /^Silent for 3 days 4 hr/], ['#/database', /2 hrs? ago/], ['#/stations', /3 days 4 hrs?/]]) {
    const profile = await world.profile();
    const tab = await profile.tab('about:blank');
    await tab.page.addInitScript(() => {
      const real = Date.now;
      Date.now = () => real() + 5 * 3_600_000;
    });
    await tab.page.goto(`${world.server.url}/admin/${place}`);
    await signIn(tab.page, english, token);
    await tab.page.getByText(told).first().waitFor();
    await profile.close();
  }
});

test('two thousand stations, behind a proxy that has all of it below a path of its own', async (t) => {
  const world = await World.make(t, { schema: shrinkage });
  const token = await world.server.addOperator('Анна');
  await populate(world.upstream, { many: 2000 });
  const proxy = createServer((asked, answer) => {
    if (!asked.url.startsWith('/hq/')) return void answer.writeHead(404).end();
    const on = request({ port: world.server.port, path: asked.url.slice(3), method: asked.method, headers: asked.headers }, (got) => {
      answer.writeHead(got.statusCode, got.headers);
      got.pipe(answer);
    });
    return void asked.pipe(on);
  });
  await new Promise((ready) => proxy.listen(0, '127.0.0.1', ready));
  t.after(() => proxy.closeAllConnections() ?? proxy.close());
  const profile = await world.profile();
  const { tab, page } = await openPage(world, profile, english, { base: `http://127.0.0.1:${proxy.address().port}/hq` });
  await signIn(page, english, token);
  await page.getByText('1–50 of 2,006 stations').waitFor();
  assert.deepEqual((await names(page)).slice(0, 2), ['Кольский рыбокомбинат, цех посола № 2', HOSTILE.replace(/[\u202E]/g, '\u202E')]);
  // What is not looked at is not drawn.
  assert.equal(await page.locator('.stations tbody tr').count(), 50);
  assert.ok((await page.evaluate(() => document.querySelectorAll('*').length)) < 4000);
  await page.getByRole('link', { name: 'Next page' }).click();
  await page.getByText('51–100 of 2,006 stations').waitFor();
  await page.getByRole('searchbox').fill('PLANT-1999');
  assert.deepEqual(await names(page), ['plant-1999']);
  await page.getByRole('link', { name: 'plant-1999' }).click();
  await page.getByRole('heading', { name: 'plant-1999 no. 2009', level: 1 }).waitFor();
  await page.getByText('It never pushed.').waitFor();
  await page.getByRole('button', { name: 'Revoke' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
  await page.locator('.head .badge').filter({ hasText: 'revoked' }).waitFor();
  await assertCalm(tab);
});
