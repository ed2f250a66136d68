// A person before the field notebook, in either language, at a desk or with a phone.
import assert from 'node:assert/strict';

export const english = {
  lang: 'en-US', view: { width: 1280, height: 900 }, other: 'RU, русский', back: 'EN, English',
  light: /^Is it safe to leave\?/, safe: 'Safe to leave', alone: 'Not joined to a server', one: '1 change only on this device', close: 'Close',
  code: 'Join code', join: 'Join', joined: /Joined as .*number \d+/, product: 'Product', add: (name) => `Add “${name}”`,
  initial: 'Initial balance', incoming: 'Incoming', outgoing: 'Outgoing', final: 'Final balance', days: 'Storage days', more: 'One day more',
  save: 'Save record', saved: /Saved on this device/, change: /Change product/, rate: (percent) => `${percent}%`, kilograms: (text) => `${text} kg`,
  day: 'Today', edit: (name) => new RegExp(`^Edit ${name}`), correct: 'Save correction', remove: (name) => new RegExp(`^Delete ${name}`), undo: 'Undo',
  rejects: 'Rejected changes', rejected: '1 rejected change to repair', send: 'Correct and send', revoked: /access was taken away/, export: 'Export unsent data', number: (value) => value,
  again: 'Send now',
};
export const russian = {
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
export class Reader {
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
    // The message of the record before, which stays for a while, must not be taken for this one's.
    const before = this.page.locator('.toast button.icon');
    if (await before.isVisible()) await before.click();
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
export async function openNotebook(world, profile, words) {
  const tab = await profile.tab('about:blank');
  await tab.page.setViewportSize(words.view);
  await tab.page.goto(`${world.server.url}/notebook/`);
  const reader = new Reader(tab.page, words);
  await reader.page.locator('#light[data-level]:not([data-level=unknown])').waitFor();
  return { tab, reader };
}

/** The notebook's database beside its page, to compare. */
export async function beside(tab) {
  await tab.open({ name: 'notebook' }, '/notebook/tidemark/index.js');
}
