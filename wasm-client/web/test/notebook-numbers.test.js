import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDecimal, readDays, readMass } from '../notebook/numbers.js';

test('comma and point both separate decimals; spaces between thousands are let through', () => {
  for (const [text, value] of [['1.2', 1.2], ['1,2', 1.2], [' 1 200,5 ', 1200.5], ['1\u00a0200', 1200], ['12\u202f345.6', 12345.6], [',5', 0.5], ['5.', 5], ['+3', 3], ['\u22124', -4]]) {
    assert.equal(parseDecimal(text), value, text);
  }
});

test('nothing typed is not zero, and what is no number is none', () => {
  assert.equal(parseDecimal('  '), null);
  for (const text of ['1.2.3', '1,234.5', 'x', '1e3', '0x10', '--1', '.', ',', 'Infinity', '1/2']) assert.equal(parseDecimal(text), undefined, text);
});

test('a mass is needed or not, never negative, and not beyond reason', () => {
  assert.deepEqual(readMass('1,092', true), { value: 1.092, error: null });
  assert.deepEqual(readMass('', true), { value: null, error: 'error.missing' });
  assert.deepEqual(readMass('', false), { value: null, error: null });
  assert.deepEqual(readMass('-1', false), { value: null, error: 'error.negative' });
  assert.deepEqual(readMass('abc', true), { value: null, error: 'error.number' });
  assert.deepEqual(readMass('1000001', true), { value: null, error: 'error.huge' });
  assert.ok(Object.is(readMass('-0', true).value, 0));
});

test('days are whole', () => {
  assert.deepEqual(readDays('7'), { value: 7, error: null });
  assert.deepEqual(readDays('0'), { value: 0, error: null });
  for (const [text, error] of [['', 'error.missing'], ['1,5', 'error.whole'], ['-1', 'error.negative'], ['3651', 'error.days'], ['seven', 'error.number']]) {
    assert.deepEqual(readDays(text), { value: null, error }, text);
  }
});
