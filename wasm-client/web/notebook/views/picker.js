/** Picking a product: the ones counted last first, found by a few letters, or added by their name. */
import { el, reconcile } from '../dom.js';
import { fromStored } from '../days.js';
import { currentLanguage, format, onLanguage, t } from '../i18n/index.js';
import { named, search, tidy } from '../names.js';
import { PRODUCTS, productNamed } from '../records.js';
import { describe } from '../failure.js';

const SHOWN_MAX = 40;
const NAME_CHARACTERS_MAX = 200;

export function pickerView({ db, onPick }) {
  const $ = id => document.getElementById(id);
  const field = $('product-search');
  let products = null;

  const found = () => search(products ?? [], field.value);

  function render() {
    if (!products) return;
    const matches = found();
    const typed = tidy(field.value);
    $('product-add').hidden = typed === '' || named(products, typed) !== undefined;
    $('product-add').textContent = t('picker.add', { name: typed });
    $('picker-note').textContent = products.length === 0 && typed === '' ? t('picker.empty') : typed === '' ? '' : matches.length === 0 ? t('picker.none') : t('picker.found', { n: matches.length });
    reconcile($('products'), matches.slice(0, SHOWN_MAX), product => String(product.id), item, currentLanguage());
    const more = matches.length - SHOWN_MAX;
    $('picker-more').hidden = more <= 0;
    if (more > 0) $('picker-more').textContent = t('picker.more', { n: more });
  }

  function item(product) {
    const at = fromStored(product.counted_at);
    const last = at && product.final !== null ? t('picker.last', { kg: format.kg(product.final), day: format.day(at) }) : t('picker.never');
    return el('li', {}, el('button', { type: 'button', 'data-focus': 'pick', onclick: () => pick(product) },
      el('span', { class: 'name' }, product.name), ' ', el('span', { class: 'quiet' }, last)));
  }

  function pick({ id, name }) {
    field.value = '';
    $('picker-error').textContent = '';
    render();
    onPick({ id, name });
  }

  async function add() {
    const name = tidy(field.value);
    if (name === '') return;
    if (name.length > NAME_CHARACTERS_MAX) {
      $('picker-error').textContent = t('picker.long');
      return;
    }
    try {
      pick(await productNamed(db, name));
    } catch (error) {
      $('picker-error').textContent = `${t('failure.unsaved')} ${describe(error).text}`;
    }
  }

  field.addEventListener('input', () => { $('picker-error').textContent = ''; render(); });
  field.addEventListener('keydown', event => {
    if (event.key !== 'ArrowDown') return;
    event.preventDefault();
    $('products').querySelector('button')?.focus();
  });
  $('products').addEventListener('keydown', event => {
    const step = { ArrowDown: 'nextElementSibling', ArrowUp: 'previousElementSibling' }[event.key];
    if (!step) return;
    event.preventDefault();
    (event.target.closest('li')[step]?.querySelector('button') ?? (event.key === 'ArrowUp' ? field : null))?.focus();
  });
  $('picker-form').addEventListener('submit', event => {
    event.preventDefault();
    const exact = named(products ?? [], field.value);
    if (exact) pick(exact);
    else if (!$('product-add').hidden) void add();
  });
  onLanguage(render);
  let arrived;
  /** The products as they were found at first. */
  const first = new Promise(resolve => { arrived = resolve; });
  db.liveQuery(PRODUCTS, [], rows => { products = rows; render(); arrived(rows); }, error => { $('picker-note').textContent = describe(error).text; });

  return {
    first,
    show(visible) { $('picker').hidden = !visible; },
    focus() { field.focus(); },
    /** What the list knows of a product, its last count above all. */
    known: id => products?.find(product => product.id === id) ?? null,
  };
}
