// The notebook on small phones: what a person needs is in view, and nothing lies over it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { english, openNotebook, russian } from './harness/notebook.mjs';
import { shrinkage } from './harness/schema.mjs';
import { World } from './harness/world.mjs';

const FIELDS = ['initial', 'incoming', 'outgoing', 'final', 'days'];
const LONG = 'СКУМБРИЯ ХОЛОДНОГО КОПЧЕНИЯ НЕРАЗДЕЛАННАЯ КРУПНАЯ';

/** What lies over the middle of an element that should be touched, or null. */
async function over(page, selector) {
  await page.locator(selector).waitFor();
  return page.locator(selector).evaluate((node) => {
    const box = node.getBoundingClientRect();
    const top = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
    if (node.contains(top)) return null;
    return top === null ? 'it is out of view' : `${top.tagName.toLowerCase()}#${top.id}.${top.className}`;
  });
}

/** How far an element reaches beyond the sides of the window, in pixels. */
const beyond = (page, selector) => page.locator(selector).evaluateAll((nodes) => Math.max(0, ...nodes.map((node) => {
  const box = node.getBoundingClientRect();
  return box.width === 0 ? 0 : Math.max(box.right - document.documentElement.clientWidth, -box.left);
})));

for (const base of [english, russian]) {
  for (const view of [{ width: 390, height: 844 }, { width: 320, height: 568 }]) {
    const words = { ...base, view };
    // One browser and one server for all of it: what is looked at is the page.
    test(`the notebook on a phone of ${view.width} × ${view.height}, ${words.lang}`, async (t) => {
      const world = await World.make(t, { schema: shrinkage });
      const profile = await world.profile({ lang: words.lang });
      const { tab, reader, reader: { page } } = await openNotebook(world, profile, words);

      await t.test('with a warning every field that has the focus is in view, and so is the way to save', async () => {
        await reader.pick(LONG);
        for (const [what, final] of [['surplus', '300'], ['unusual', '1']]) {
          await reader.fill({ initial: '5', incoming: '123.456', outgoing: '1', final, days: '7' });
          assert.equal(await page.locator('#foot').getAttribute('data-kind'), what);
          for (const name of FIELDS) {
            await page.locator(`#${name}`).focus();
            assert.equal(await over(page, `#${name}`), null, `${what}: what lies over ${name}`);
            assert.equal(await over(page, '#entry-save'), null, `${what}: what lies over Save`);
          }
          await page.locator('#result-note').scrollIntoViewIfNeeded();
          assert.match(await page.locator('#result-note').innerText(), /\S/);
          assert.equal(await over(page, '#result-note'), null, `${what}: what lies over the warning`);
        }
      });

      await t.test('a message lies over nothing that is needed next', async () => {
        await reader.pick('ЛЕЩ');
        await reader.fill({ initial: '5', final: '4.9', days: '7' });
        await reader.save();
        await page.locator('.toast').waitFor();
        assert.equal(await over(page, '#product-search'), null);
        await reader.pick(LONG);
        assert.equal(await page.locator('.toast').count(), 1, 'the message is gone before it was looked at');
        assert.equal(await over(page, '#entry-save'), null, 'what lies over Save');
        for (const name of FIELDS) {
          await page.locator(`#${name}`).focus();
          assert.equal(await over(page, `#${name}`), null, `what lies over ${name}`);
        }
        // With something to undo it stays longer, and is taller.
        await reader.go('day');
        await page.getByRole('region', { name: words.day }).getByRole('button', { name: words.remove('ЛЕЩ') }).click();
        await reader.button(words.undo).waitFor();
        await reader.go('entry');
        assert.equal(await over(page, '#entry-save'), null, 'what lies over Save');
        assert.equal(await over(page, '.toast .act'), null);
        // In the sheet behind the light it stands below what is scrolled, not over it.
        await reader.device(async (dialog) => {
          assert.equal(await over(page, '.toast .act'), null);
          const [sheet, toast] = await Promise.all(['#device-sheet', '.toast'].map((selector) => dialog.locator(selector).boundingBox()));
          assert.ok(sheet.y + sheet.height <= toast.y, `the sheet ends at ${sheet.y + sheet.height}, the message begins at ${toast.y}`);
        });
      });

      await t.test('the history shows every column of its table', async () => {
        await reader.pick(LONG);
        await reader.fill({ initial: '12345.678', final: '10000.5', days: '110' });
        await reader.save();
        await reader.go('history');
        const row = page.locator('#history-rows tr').first();
        await row.waitFor();
        assert.equal((await row.innerText()).replace(/\s+/g, ' ').includes(words.rate('19')), true, await row.innerText());
        for (const part of ['#history thead th', '#history-rows th', '#history-rows td', '#history-rows button']) {
          assert.ok(await beyond(page, part) <= 0, `${part} reaches ${await beyond(page, part)} px out of view`);
        }
        const table = await page.locator('.table').evaluate((node) => node.scrollWidth - node.clientWidth);
        assert.ok(table <= 0, `${table} px of the table must be scrolled to`);
        // What the rate came from is told, too.
        assert.match((await row.innerText()).replace(/\s/g, ''), /12[.,]?345[.,]678.*10[.,]?000[.,]5/);
      });

      await t.test('the boxes of a row stand on one line, whatever their labels take', async () => {
        await reader.pick('ЛЕЩ');
        for (const row of [['incoming', 'outgoing'], ['final', 'days']]) {
          const tops = await Promise.all(row.map((name) => page.locator(`#${name}`).evaluate((node) => Math.round(node.getBoundingClientRect().top))));
          assert.equal(tops[0], tops[1], row.join(' and '));
        }
        assert.ok(await beyond(page, '#entry *') <= 0, 'something of the form is out of view');
      });

      await t.test('without a network the light says whole sentences, and first that waiting loses nothing', async () => {
        await reader.join(await world.server.addStation('a'));
        await reader.headline(words.safe);
        await profile.context.setOffline(true);
        await reader.pick('КАМБАЛА');
        const details = page.locator('#light .details');
        const loses = words.lang === 'ru-RU' ? 'Связи нет. Можно ждать: ничего не пропадёт' : 'No connection. Nothing is lost by waiting';
        await details.filter({ hasText: loses }).waitFor();
        // Each sentence is in view as a whole or not at all, and the first one is.
        const seen = await details.evaluate((node) => [...node.children].map((span) => {
          const [box, frame] = [span.getBoundingClientRect(), node.getBoundingClientRect()];
          const inside = Math.max(0, Math.min(box.bottom, frame.bottom) - Math.max(box.top, frame.top));
          return { text: span.textContent.trim(), part: Math.round((100 * inside) / box.height), wide: span.scrollWidth - span.clientWidth };
        }));
        assert.deepEqual({ ...seen[0], part: seen[0].part > 95 }, { text: loses, part: true, wide: 0 });
        for (const { text, part } of seen) assert.ok(part < 5 || part > 95, `${part} % of "${text}" is in view`);
      });
      assert.deepEqual(tab.uncaught, []);
    });
  }
}
