import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keyOf, named, search, tidy } from '../notebook/names.js';

const products = ['СИНЕЦ ВЯЛЕНЫЙ', 'СКУМБРИЯ Х/К', 'Лещ вяленый', 'Форель копчёная'].map((name, i) => ({ id: i + 1, name }));

test('one product whatever the case and the spaces, in Cyrillic too', () => {
  assert.equal(named(products, '  скумбрия   х/к ').id, 2);
  assert.equal(named(products, 'ЛЕЩ ВЯЛЕНЫЙ').id, 3);
  assert.equal(named(products, 'скумбрия'), undefined);
});

test('composed and decomposed letters are the same letter', () => {
  assert.equal(keyOf('Кра\u0438\u0306ний'), keyOf('КРА\u0419НИЙ'));
  assert.equal(tidy(' \u0438\u0306 '), '\u0439');
});

test('a search finds every word in any order, what begins with the text first', () => {
  assert.deepEqual(search(products, 'вял').map(({ id }) => id), [1, 3]);
  assert.deepEqual(search(products, 'вяленый лещ').map(({ id }) => id), [3]);
  assert.deepEqual(search([...products, { id: 9, name: 'Вяленая щука' }], 'вял').map(({ id }) => id), [9, 1, 3]);
  assert.deepEqual(search(products, 'осётр'), []);
  assert.deepEqual(search(products, '').length, products.length);
});

test('a search takes е for ё; the identity of a product does not', () => {
  assert.deepEqual(search(products, 'копченая').map(({ id }) => id), [4]);
  assert.equal(named(products, 'Форель копченая'), undefined);
});
