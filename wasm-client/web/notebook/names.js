/** Names of products: which are the same, and which are meant by a few letters. SQLite's lower() knows ASCII only, so this is done here. */

/** A name as it is stored: no space around it, single ones inside, letters composed. */
export const tidy = name => name.normalize('NFC').trim().replace(/\s+/g, ' ');

/** Two names with the same key are one product: `Скумбрия х/к` and `СКУМБРИЯ Х/К`. */
export const keyOf = name => tidy(name).toLowerCase();

/** For searching, ё counts as е: many keyboards are used without it. */
const searchKey = name => keyOf(name).replace(/ё/g, 'е');

/**
 * The products whose names hold every word typed, those that begin with the text first; otherwise in the order given.
 * @template {{name: string}} P
 * @param {readonly P[]} products
 * @param {string} typed
 * @returns {P[]}
 */
export function search(products, typed) {
  const text = searchKey(typed);
  if (text === '') return [...products];
  const words = text.split(' ');
  const found = products
    .map(product => ({ product, key: searchKey(product.name) }))
    .filter(({ key }) => words.every(word => key.includes(word)));
  const rank = ({ key }) => (key === text ? 0 : key.startsWith(text) ? 1 : 2);
  return found.sort((a, b) => rank(a) - rank(b)).map(({ product }) => product);
}

/** The product of that name, if there is one. */
export const named = (products, name) => products.find(product => keyOf(product.name) === keyOf(name));
