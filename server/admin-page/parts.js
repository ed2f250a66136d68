/** Pieces that several views are made of. */
import { bdi, el, svg } from './dom.js';
import { t } from './i18n/index.js';
import { href } from './place.js';
import { state as stateWord } from './words.js';

const ICONS = {
  active: 'M20 6.5 9.500 17.500 4 12',
  silent: 'M12 3 2.500 20h19zM12 9.500v5M12 17.200v.1',
  forked: 'M6 3v6c0 4 6 3 6 8v4M18 3v6c0 4-6 3-6 8',
  revoked: 'M12 2.500a9.500 9.500 0 1 0 0 19 9.500 9.500 0 0 0 0-19zM5.500 5.500l13 13',
  invited: 'M3.500 6.500h17v12h-17zM4 7l8 6.500L20 7',
  left: 'm15 5-7 7 7 7',
  right: 'm9 5 7 7-7 7',
  close: 'M5.500 5.500l13 13M18.500 5.500l-13 13',
  search: 'M10.500 3.500a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM15.700 15.700 21 21',
  up: 'M12 19V5M6 11l6-6 6 6',
  down: 'M12 5v14M6 13l6 6 6-6',
};

/** Strokes on a 24 × 24 grid in the colour of the text around them. */
export const icon = name => svg('svg', { class: 'glyph', viewBox: '0 0 24 24', width: 20, height: 20, 'aria-hidden': 'true' },
  svg('path', { d: ICONS[name] }));

/** A state by colour, shape and word. */
export const badge = state => el('span', { class: 'badge', 'data-state': state },
  Object.hasOwn(ICONS, state) && icon(state), el('span', {}, stateWord(state)));

/** A station's name, which leads to its page: by its number, or by its name while it has none. */
export function stationName({ number, name }) {
  return el('a', { href: href(['stations', number ?? name]) }, bdi(name || t('station.unnamed')));
}

/**
 * A table that is a list of cards where there is no room for its columns. `columns`: `{ key, label, class, head, row, bare, unseen }`,
 * where `row` names the row, `bare` has no name on a card, and `unseen` none in the head;
 * `rows`: `{ key, cells: { [key]: content or { content, class } }, after }`, where `after` is shown below the row.
 */
export function table(columns, rows, { label, className = '' }) {
  const cell = (column, content) => {
    const { content: inner, class: mark = '' } = content?.content === undefined ? { content } : content;
    return el(column.row ? 'th' : 'td', {
      role: column.row ? 'rowheader' : 'cell', scope: column.row ? 'row' : null,
      class: `${column.class ?? ''} ${mark}`.trim() || null, 'data-label': column.bare ? null : column.label,
    }, inner);
  };
  return el('table', { role: 'table', class: `list ${className}`.trim(), 'aria-label': label },
    el('thead', { role: 'rowgroup' }, el('tr', { role: 'row' }, columns.map(column => column.head
      ?? el('th', { role: 'columnheader', scope: 'col', class: column.class ?? null }, column.unseen ? el('span', { class: 'sr-only' }, column.label) : column.label)))),
    el('tbody', { role: 'rowgroup' }, rows.flatMap(({ key, cells, after, class: mark }) => [
      el('tr', { role: 'row', 'data-key': key, class: mark ?? null }, columns.map(column => cell(column, cells[column.key]))),
      after && el('tr', { role: 'row', class: 'after', 'data-key': `${key}+` },
        el('td', { role: 'cell', colspan: columns.length }, after)),
    ])));
}

/** Facts by name: `[[name, value], …]`; those without a value are left out. */
export const facts = pairs => el('dl', { class: 'facts' }, pairs.filter(([, value]) => value !== null && value !== undefined)
  .map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value))));

export const empty = (...text) => el('p', { class: 'empty' }, ...text);

/** A heading that the focus goes to when its view is shown. */
export const title = (...text) => el('h1', { id: 'title', tabindex: '-1' }, ...text);

export const button = (words, onclick, { class: kind = '', ...more } = {}) =>
  el('button', { type: 'button', class: `button ${kind}`.trim(), onclick, ...more }, words);

/** A choice: `options` are `[value, words]`. */
export const choice = (label, value, options, onchange) => el('label', { class: 'choice' }, el('span', {}, label),
  el('select', { onchange: event => onchange(event.target.value), '.value': value },
    options.map(([of, words]) => el('option', { value: of, selected: of === value }, words))));
