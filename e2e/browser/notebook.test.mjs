// The field notebook as a person uses it, in both languages, at a desk and on a phone, with the network there and gone.
import assert from 'node:assert/strict';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { shrinkage } from './harness/schema.mjs';
import { assertSame } from './harness/upstream.mjs';
import { until } from './harness/wait.mjs';
import { World } from './harness/world.mjs';

const english = {
  lang: 'en-US', view: { width: 1280, height: 900 }, other: 'RU, русский', back: 'EN, English',
  light: /^Is it safe to leave\?/, safe: 'Safe to leave', alone: 'Not joined to a server', one: '1 change only on this device', close: 'Close',
  code: 'Join code', join: 'Join', joined: /Joined as .*number \d+/, product: 'Product', add: (name) => `Add “${name}”`,
  initial: 'Initial balance', incoming: 'Incoming', outgoing: 'Outgoing', final: 'Final balance', days: 'Storage days', more: 'One day more',
  save: 'Save record', saved: /Saved on this device/, change: /Change product/, rate: (percent) => `${percent}%`, kilograms: (text) => `${text} kg`,
  day: 'Today', edit: (name) => new RegExp(`^Edit ${name}`), correct: 'Save correction', remove: (name) => new RegExp(`^Delete ${name}`), undo: 'Undo',
  rejects: 'Rejected changes', rejected: '1 rejected change to repair', send: 'Correct and send', revoked: /revoked/, export: 'Export unsent data', number: (value) => value,
  again: 'Send now',
};
const russian = {
  lang: 'ru-RU', view: { width: 390, height: 844 }, other: 'EN, English', back: 'RU, русский',
  light: /^Можно уходить\?/, safe: 'Можно уходить', alone: 'Не подключено к серверу', one: '1 изменение только на этом устройстве', close: 'Закрыть',
  code: 'Код подключения', join: 'Подключить', joined: /номер \d+/i, product: 'Товар', add: (name) => `Добавить «${name}»`,
  initial: 'Начальный остаток', incoming: 'Приход', outgoing: 'Расход', final: 'Конечный остаток', days: 'Дней хранения', more: 'На день больше',
  save: 'Сохранить запись', saved: /Сохранено на устройстве/, change: /Выбрать другой товар/, rate: (percent) => `${percent.replace('.', ',')} %`,
  kilograms: (text) => `${text.replace('.', ',')} кг`, day: 'Сегодня', edit: (name) => new RegExp(`^Изменить: ${name}`), correct: 'Сохранить исправление',
  remove: (name) => new RegExp(`^Удалить: ${name}`), undo: 'Вернуть', rejects: 'Отклонённые изменения', rejected: '1 изменение отклонено', send: 'Исправить и отправить',
  revoked: /отозван/, export: 'Выгрузить неотправленное', number: (value) => value.replace('.', ','), again: 'Отправить сейчас',
};

/** A person before the notebook. */
class Reader {
  constructor(page, words) {
    this.page = page;
    this.words = words;
  }

  button(name, options = {}) {
    return this.page.getByRole('button', { name, ...options });
  }

  /** Goes to a section: on a phone only one is in view. */
  async go(view) {
    const tab = this.page.locator(`nav.tabs [data-view=${view}]`);
    if (await tab.isVisible()) await tab.click();
  }

  /** What an element says; spaces that do not break are spaces. */
  async says(selector, text) {
    assert.equal((await this.page.locator(selector).textContent()).replace(/\s/g, ' '), text);
  }

  async headline(text) {
    await this.page.locator('#light strong').filter({ hasText: text }).waitFor();
  }

  async pick(name) {
    await this.go('entry');
    const chosen = this.button(this.words.change);
    if (await chosen.isVisible()) await chosen.click();
    await this.page.getByRole('searchbox', { name: this.words.product }).fill(name);
    const known = this.page.locator('#products').getByRole('button', { name });
    const add = this.button(this.words.add(name));
    await known.or(add).first().waitFor();
    await ((await known.count()) > 0 ? known.first() : add).click();
  }

  async fill(values) {
    for (const [field, value] of Object.entries(values)) await this.page.getByLabel(this.words[field]).fill(this.words.number(value));
  }

  async save() {
    await this.button(this.words.save).click();
    await this.page.getByRole('status').filter({ hasText: this.words.saved }).first().waitFor();
  }

  async device(work) {
    await this.page.locator('#light').click();
    const dialog = this.page.getByRole('dialog');
    await dialog.waitFor();
    await work(dialog);
    await dialog.getByRole('button', { name: this.words.close, exact: true }).click();
    await dialog.waitFor({ state: 'hidden' });
  }

  async join(code) {
    await this.device(async (dialog) => {
      await dialog.getByLabel(this.words.code).fill(code);
      await dialog.getByRole('button', { name: this.words.join, exact: true }).click();
      await dialog.getByText(this.words.joined).first().waitFor();
    });
  }
}

/** Opens the notebook of the world's server in this browser. */
async function openNotebook(world, profile, words) {
  const tab = await profile.tab('about:blank');
  await tab.page.setViewportSize(words.view);
  await tab.page.goto(`${world.server.url}/notebook/`);
  const reader = new Reader(tab.page, words);
  await reader.page.locator('#light[data-level]:not([data-level=unknown])').waitFor();
  return { tab, reader };
}

/** The notebook's database beside its page, to compare. */
async function beside(tab) {
  await tab.open({ name: 'notebook' }, '/notebook/tidemark/index.js');
}

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
      await reader.headline(words.safe);
      assert.equal(await world.upstream.count('calculation_data'), 2);
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
