import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import en from '../notebook/i18n/en.js';
import ru from '../notebook/i18n/ru.js';

const languages = { en, ru };
const folder = new URL('../notebook/', import.meta.url);
const read = name => readFileSync(new URL(name, folder), 'utf8');
const sources = [...readdirSync(folder), ...readdirSync(new URL('views/', folder)).map(name => `views/${name}`)].filter(name => /\.(js|html)$/.test(name));

test('both languages have the same keys, in the same order', () => {
  assert.deepEqual(Object.keys(ru), Object.keys(en));
});

test('a text has the same placeholders in every language and form', () => {
  const placeholders = text => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort().join();
  for (const key of Object.keys(en)) {
    const full = typeof en[key] === 'string' ? en[key] : en[key].other;
    for (const [language, texts] of Object.entries(languages)) {
      for (const [form, text] of Object.entries(typeof texts[key] === 'string' ? { only: texts[key] } : texts[key])) {
        // One record has no lowest and highest.
        if (key === 'history.chart' && form === 'one') continue;
        assert.equal(placeholders(text), placeholders(full), `${language} ${key} ${form}`);
      }
    }
  }
});

test('every plural has exactly the forms of its language', () => {
  for (const [language, texts] of Object.entries(languages)) {
    const forms = new Intl.PluralRules(language).resolvedOptions().pluralCategories.slice().sort();
    for (const [key, text] of Object.entries(texts)) {
      if (typeof text !== 'string') assert.deepEqual(Object.keys(text).sort(), forms, `${language} ${key}`);
      assert.equal(typeof text, typeof en[key], key);
    }
  }
});

test('a text that the page asks for exists, and no text is left unused', () => {
  const text = sources.map(read).join('\n');
  const asked = new Set([...text.matchAll(/(?:'|data-t(?:-label|-placeholder)?=")([a-z]+\.[A-Za-z.-]+)(?:'|")/g)].map(([, key]) => key).filter(key => key.split('.')[0] in groups));
  for (const key of asked) assert.ok(key in en, `${key} is asked for and does not exist`);
  // Keys that are put together: `stop.${kind}`.
  const families = [...text.matchAll(/`([a-z]+(?:\.[a-z]+)*\.)\$\{/g)].map(([, family]) => family);
  for (const key of Object.keys(en)) {
    assert.ok(asked.has(key) || families.some(family => key.startsWith(family)), `${key} is used nowhere`);
  }
});

test('a row that refers to another station’s is not said to have a bad number only', () => {
  assert.match(en['reject.code.id-range'], /number .* or it refers to a row of another device/);
  assert.match(ru['reject.code.id-range'], /Номер .* или запись ссылается на строку другого устройства/);
});

test('every code of a reject, a stop and a failure has its words', () => {
  const types = readFileSync(new URL('../src/index.d.ts', import.meta.url), 'utf8').replace(/\/\*\*.*?\*\//gs, '');
  const literals = block => [...block.matchAll(/'([a-z-]+)'/g)].map(([, literal]) => literal);
  const type = name => literals(new RegExp(`export type ${name} =([^;]+);`).exec(types)[1]);
  for (const kind of type('StopKind')) assert.ok(`stop.${kind}` in en && `stop.todo.${kind}` in en, kind);
  for (const code of type('ErrorCode')) assert.ok(`failure.${code}` in en, code);
  for (const reason of type('JoinReason')) assert.ok(`join.not.${reason}` in en, reason);
  for (const kind of type('FailureKind')) assert.ok(`send.failed.${kind}` in en, kind);
  const codes = [...readFileSync(new URL('../../../core/src/reject.rs', import.meta.url), 'utf8').matchAll(/^ {4}\w+ = "([a-z0-9-]+)",$/gm)].map(([, code]) => code);
  assert.ok(codes.length > 10);
  for (const code of codes) assert.ok(`reject.code.${code}` in en, code);
});

const groups = Object.fromEntries(Object.keys(en).map(key => [key.split('.')[0], true]));
