// The words of the fleet page, and what it computes without a browser.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { root } from './harness/paths.mjs';

const folder = join(root, 'server/admin-page');
const read = (path) => readFileSync(join(root, path), 'utf8');
/** A module of the page that imports nothing, as the browser gets it. */
const load = (name) => import(`data:text/javascript;base64,${readFileSync(join(folder, name)).toString('base64')}`);
const [en, ru] = (await Promise.all(['i18n/en.js', 'i18n/ru.js'].map(load))).map((module) => module.default);
const languages = { en, ru };

test('both languages have the same keys, with the same placeholders, and every form of theirs', () => {
  assert.deepEqual(Object.keys(ru), Object.keys(en));
  const placeholders = (text) => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort().join();
  for (const [language, texts] of Object.entries(languages)) {
    const forms = new Intl.PluralRules(language).resolvedOptions().pluralCategories.slice().sort();
    for (const [key, text] of Object.entries(texts)) {
      assert.equal(typeof text, typeof en[key], `${language} ${key}`);
      if (typeof text !== 'string') assert.deepEqual(Object.keys(text).sort(), forms, `${language} ${key}`);
      const full = typeof en[key] === 'string' ? en[key] : en[key].other;
      for (const form of typeof text === 'string' ? [text] : Object.values(text)) {
        // One of something need not be counted.
        if (key === 'discard.yes') continue;
        assert.equal(placeholders(form), placeholders(full), `${language} ${key}`);
      }
    }
  }
});

test('a text that the page asks for exists, and none is left unused', () => {
  const sources = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith('.js') && !/i18n.(en|ru)\.js/.test(name));
  const text = sources.map((name) => readFileSync(join(folder, name), 'utf8')).join('\n');
  const groups = new Set(Object.keys(en).map((key) => key.split('.')[0]));
  const asked = new Set([...text.matchAll(/'([a-z]+[A-Za-z]*\.[A-Za-z-]+)'/gi)].map(([, key]) => key).filter((key) => groups.has(key.split('.')[0]) && !key.endsWith('.js')));
  for (const key of asked) assert.ok(key in en, `${key} is asked for and does not exist`);
  const families = [...text.matchAll(/`([A-Za-z]+\.[a-z]*)\$\{/g)].map(([, family]) => family);
  for (const key of Object.keys(en)) assert.ok(asked.has(key) || families.some((family) => key.startsWith(family)), `${key} is used nowhere`);
});

test('every code, reason, state and act of the server has its words', () => {
  const kebab = (name) => name.replace(/(?<=[a-z0-9])([A-Z])/g, '-$1').toLowerCase();
  const variants = (source, name) => [...new RegExp(`pub enum ${name} \\{(.*?)\\n\\}`, 's').exec(source)[1].matchAll(/^ {4}([A-Z]\w*),/gm)].map(([, variant]) => variant);
  const codes = [...read('core/src/reject.rs').matchAll(/^ {4}\w+ = "([a-z0-9-]+)",$/gm)].map(([, code]) => code);
  assert.ok(codes.length > 10);
  for (const code of codes) assert.ok(`code.${code}` in en, code);
  const words = read('server/admin-page/words.js');
  assert.deepEqual([...words.slice(words.indexOf('CODES')).split(']')[0].matchAll(/'([a-z0-9-]+)'/g)].map(([, code]) => code), [...codes].sort());
  const problems = read('core/src/protocol/problem.rs');
  for (const reason of variants(problems, 'UnavailableReason').filter((name) => name !== 'Other')) assert.ok(`reason.${kebab(reason)}` in en, reason);
  // What only a station is refused with is nothing that this page hears.
  const stations = ['BadFrame', 'WrongStation', 'JoinCodeUnknown', 'JoinCodeUsed', 'JoinCodeExpired', 'Gap', 'Forked', 'Moved', 'CannotRejoin', 'UnknownSchema',
    'IncompatibleSchema', 'Timeout', 'StationsExhausted'];
  for (const code of variants(problems, 'ProblemCode').filter((name) => !stations.includes(name))) assert.ok(`problem.${kebab(code)}` in en, code);
  for (const state of variants(read('server/src/fleet/state.rs'), 'State')) assert.ok(`state.${kebab(state)}` in en && `states.${kebab(state)}` in en, state);
  const acts = [...read('server/src/fleet/acts.rs').matchAll(/pub const \w+: &str = "([a-z-]+)";/g)].map(([, act]) => act);
  assert.ok(acts.length > 8);
  for (const act of acts) assert.ok(`act.${act}` in en, act);
  for (const state of ['open', 'replayed', 'superseded', 'discarded']) assert.ok(`reject.${state}` in en && `outcome.${state}` in en, state);
});

test('stations are found, sorted and paged, those without a value last', async () => {
  const { listed, PAGE_STATIONS } = await load('list.js');
  const station = (number, more) => ({ number, name: `st-${number}`, state: 'active', rejects_open: 0, pending: null, clock_offset_ms: null, client_version: null, ...more });
  const all = [station(3, { state: 'silent', pending: 5 }), station(20, { pending: 0 }), station(1), station(2, { pending: 90, clock_offset_ms: -9 }), station(10, { clock_offset_ms: 4 })];
  const numbers = (asked) => listed(all, asked).shown.map(({ number }) => number);
  assert.deepEqual(numbers({}), [3, 20, 1, 2, 10], 'the server’s order');
  assert.deepEqual(numbers({ sort: 'name' }), [1, 2, 3, 10, 20]);
  assert.deepEqual(numbers({ sort: 'pending', down: true }), [2, 3, 20, 1, 10]);
  assert.deepEqual(numbers({ sort: 'pending' }), [20, 3, 2, 1, 10]);
  assert.deepEqual(numbers({ sort: 'clock', down: true }), [2, 10, 3, 20, 1], 'behind counts as ahead');
  assert.deepEqual(numbers({ sort: 'toString' }), [3, 20, 1, 2, 10]);
  assert.deepEqual(numbers({ search: 'ST 2' }), [20, 2]);
  assert.deepEqual(numbers({ state: 'silent' }), [3]);
  const many = Array.from({ length: 120 }, (_, at) => station(at + 1));
  assert.deepEqual([1, 3, 4, -1, NaN].map((page) => listed(many, { page })).map(({ from, page, pages, shown }) => [from, page, pages, shown.length]),
    [[0, 1, 3, PAGE_STATIONS], [100, 3, 3, 20], [100, 3, 3, 20], [0, 1, 3, PAGE_STATIONS], [0, 1, 3, PAGE_STATIONS]]);
});

test('a place is its address, and back', async () => {
  const { href, parse } = await load('place.js');
  for (const [parts, query] of [[['stations'], {}], [['stations', '3'], { state: 'open' }], [['stations', 'a/b?c#d &'], { q: 'ЛЕЩ & co' }]]) {
    assert.deepEqual(parse(href(parts, query)), { parts, query });
  }
  assert.equal(href(['stations'], { q: '', page: null, sort: undefined }), '#/stations');
  assert.deepEqual(parse(''), { parts: [], query: {} });
  assert.deepEqual(parse('#/stations/%E0%A4%A'), { parts: ['stations', '%E0%A4%A'], query: {} }, 'what is no text is taken as it stands');
});
