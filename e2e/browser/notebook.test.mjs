// The field notebook as a person uses it, in both languages, at a desk and on a phone, with the network there and gone.
import assert from 'node:assert/strict';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { beside, english, openNotebook, russian } from './harness/notebook.mjs';
import { shrinkage } from './harness/schema.mjs';
import { assertSame } from './harness/upstream.mjs';
import { until } from './harness/wait.mjs';
import { World } from './harness/world.mjs';

for (const words of [english, russian]) {
  test(`the notebook clicked through as a person would, ${words.lang}, ${words.view.width} px wide`, async (t) => {
    const world = await World.make(t, { schema: shrinkage });
    const profile = await world.profile({ lang: words.lang });
    const downloads = join(world.folder, 'downloads');
    await mkdir(downloads);
    await profile.cdp.send('Browser.setDownloadBehavior', { behavior: 'allow', downloadPath: downloads });
    await profile.cdp.send('Browser.grantPermissions', { origin: world.server.url, permissions: ['durableStorage'] });
    let { tab, reader } = await openNotebook(world, profile, words);
    // Each step stands on the one before: what is broken is told once.
    let broken = false;
    const step = (name, work) => t.test(name, async () => {
      assert.ok(!broken, 'not reached: an earlier step failed');
      broken = true;
      await work();
      broken = false;
    });

    await step('it speaks the language of the browser, and the other one on a click', async () => {
      assert.equal(await reader.page.locator('html').getAttribute('lang'), words.lang.slice(0, 2));
      await reader.headline(words.alone);
      await reader.button(words.other, { exact: true }).click();
      await until('the other language', async () => (await reader.page.locator('html').getAttribute('lang')) !== words.lang.slice(0, 2));
      await reader.button(words.back, { exact: true }).click();
      await reader.headline(words.alone);
    });

    await step('a record shows its shrinkage at once and is kept before the device has joined', async () => {
      await reader.pick('СИНЕЦ ВЯЛЕНЫЙ');
      await reader.fill({ initial: '1.2', final: '1.092', days: '7' });
      await reader.says('#result-rate', words.rate('9'));
      await reader.says('#result-shrinkage', words.kilograms('0.108'));
      await reader.save();
    });

    await step('it joins with the code that the operator made, and all of it is upstream', async () => {
      await reader.join(await world.server.addStation('холодильник 2'));
      await reader.headline(words.safe);
      const rows = await world.upstream.query(`SELECT n.name, c.initial_balance, c.final_balance, c.storage_days FROM ${world.schema.name}.calculation_data c
        JOIN ${world.schema.name}.nomenclature n ON n.id = c.nomenclature_id`);
      assert.deepEqual(rows, [{ name: 'СИНЕЦ ВЯЛЕНЫЙ', initial_balance: 1.2, final_balance: 1.092, storage_days: '7' }]);
    });

    await step('a record that cannot be is pointed out beside its field and not saved', async () => {
      await reader.pick('СКУМБРИЯ Х/К');
      await reader.fill({ initial: 'много', final: '4.75', days: '7' });
      await reader.button(words.save).click();
      await reader.page.locator('#initial-error').filter({ hasText: /\S/ }).waitFor();
      assert.equal(await reader.page.getByLabel(words.initial).getAttribute('aria-invalid'), 'true');
      await reader.fill({ initial: '5', days: '6' });
      await reader.button(words.more).click();
      await reader.says('#result-rate', words.rate('5'));
      await reader.save();
      // The light may still be that of the moment before the record.
      await until('both records are upstream', async () => (await world.upstream.count('calculation_data')) === 2);
      await reader.headline(words.safe);
    });

    await step('with the server gone, a correction and a deletion stay here, and the light says so', async () => {
      await world.server.kill();
      await reader.go('day');
      await reader.page.getByRole('region', { name: words.day }).getByRole('button', { name: words.edit('СИНЕЦ ВЯЛЕНЫЙ') }).click();
      await reader.fill({ outgoing: '0.1', final: '1' });
      await reader.button(words.correct).click();
      await reader.headline(words.one);
      await reader.go('day');
      const remove = reader.page.getByRole('region', { name: words.day }).getByRole('button', { name: words.remove('СКУМБРИЯ Х/К') });
      await remove.click();
      await reader.button(words.undo).click();
      await remove.waitFor();
      await remove.click();
      await remove.waitFor({ state: 'hidden' });
    });

    await step('it opens without any network, in a browser that was closed, and has everything', async () => {
      await profile.leave();
      await profile.come();
      await profile.cdp.send('Browser.setDownloadBehavior', { behavior: 'allow', downloadPath: downloads });
      await profile.context.setOffline(true);
      ({ tab, reader } = await openNotebook(world, profile, words));
      await reader.go('day');
      const day = reader.page.getByRole('region', { name: words.day });
      await day.getByRole('button', { name: words.edit('СИНЕЦ ВЯЛЕНЫЙ') }).waitFor();
      assert.equal(await day.getByRole('button', { name: words.edit('СКУМБРИЯ Х/К') }).count(), 0);
      await reader.pick('ЛЕЩ');
      await reader.fill({ initial: '10', incoming: '2', outgoing: '1.5', final: '10.1', days: '3' });
      await reader.says('#result-rate', words.rate('4'));
      await reader.save();
    });

    await step('unsent data is exported, carried to the server and applied there once', async () => {
      await reader.device(async (dialog) => {
        await dialog.getByRole('button', { name: words.export }).click();
        await until('the bundle is downloaded', async () => (await readdir(downloads)).some((name) => name.endsWith('.bundle')));
      });
      const [bundle] = (await readdir(downloads)).filter((name) => name.endsWith('.bundle'));
      await world.server.importBundle(join(downloads, bundle));
      assert.equal(await world.upstream.count('calculation_data'), 2);
    });

    await step('with the server back it is safe to leave, and PostgreSQL has what the page shows', async () => {
      await world.server.restart();
      await profile.context.setOffline(false);
      await reader.headline(words.safe);
      await beside(tab);
      const { station } = await tab.db('status');
      assert.equal(station.name, 'холодильник 2');
      assert.equal(await assertSame(tab, world.upstream, world.schema, station.number), 5);
    });

    await step('a rejected record is shown and repaired', async () => {
      await tab.db('exec', "INSERT INTO calculation_data (initial_balance, final_balance, calculation_date) VALUES (3, 2.5, '9999-01-01 00:00:00')");
      await reader.headline(words.rejected);
      await reader.device(async (dialog) => {
        const region = dialog.getByRole('region', { name: words.rejects });
        const date = region.locator('input[id$=calculation_date]');
        await date.fill((await date.getAttribute('type')) === 'datetime-local' ? '2025-06-01T10:00' : '2025-06-01 10:00:00');
        await region.getByRole('button', { name: words.send }).click();
        await region.locator('input').first().waitFor({ state: 'hidden' });
      });
      await reader.headline(words.safe);
      const rows = await world.upstream.query(`SELECT 1 FROM ${world.schema.name}.calculation_data WHERE initial_balance = 3`);
      assert.equal(rows.length, 1);
    });

    await step('a device that was revoked says so and goes on recording', async () => {
      await world.server.revokeStation('холодильник 2');
      await reader.pick('ЛЕЩ');
      await reader.fill({ initial: '1', final: '1', days: '1' });
      await reader.save();
      await reader.headline(words.revoked);
      assert.equal(await reader.page.locator('#light').getAttribute('data-level'), 'danger');
    });
    assert.deepEqual(tab.uncaught, []);
  });
}

test('the notebook can be used with the keyboard alone', async (t) => {
  const world = await World.make(t, { schema: shrinkage });
  const profile = await world.profile();
  const { reader, tab } = await openNotebook(world, profile, english);
  const { keyboard } = reader.page;
  /** Presses Tab until the focus is where `accept` says. */
  const tabTo = async (accept) => {
    for (let n = 0; n < 60; n += 1) {
      if (await reader.page.evaluate(accept)) return;
      await keyboard.press('Tab');
    }
    assert.fail(`the focus never comes to ${accept}`);
  };
  await tabTo(() => document.activeElement.id === 'product-search');
  await keyboard.type('СИНЕЦ ВЯЛЕНЫЙ');
  await keyboard.press('Enter');
  await tabTo(() => document.activeElement.id === 'initial');
  await keyboard.type('1.2');
  await tabTo(() => document.activeElement.id === 'final');
  await keyboard.type('1.092');
  await tabTo(() => document.activeElement.id === 'days');
  await keyboard.press('ControlOrMeta+a');
  await keyboard.type('7');
  await keyboard.press('Enter');
  await reader.page.getByRole('status').filter({ hasText: english.saved }).first().waitFor();
  await reader.page.locator('#light').focus();
  await keyboard.press('Enter');
  await reader.page.getByRole('dialog').waitFor();
  await keyboard.press('Escape');
  await reader.page.getByRole('dialog').waitFor({ state: 'hidden' });
  assert.equal(await reader.page.evaluate(() => document.activeElement.id), 'light');
  await beside(tab);
  assert.equal((await tab.db('query', 'SELECT count(*) AS n FROM calculation_data'))[0].n, 1);
});

test('every file that the notebook loads is among those that are kept for offline', async (t) => {
  const world = await World.make(t, { schema: shrinkage });
  const profile = await world.profile();
  const { tab } = await openNotebook(world, profile, english);
  const missing = await tab.run(async () => {
    await navigator.serviceWorker.ready;
    const { files } = await import('/notebook/precache.js');
    const known = new Set(files.map((file) => new URL(file.url ?? file, location.href).href));
    return performance.getEntriesByType('resource').map(({ name }) => name.split('#')[0])
      .filter((name) => name.startsWith(location.origin) && !known.has(name) && !/\/v1\/|sw\.js|precache\.js/.test(name));
  });
  assert.deepEqual(missing, []);
});
