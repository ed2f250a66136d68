/** Entering a record, or correcting one. What is typed outlives a reload. */
import { icon } from '../icons.js';
import { daysBetween, fromStored } from '../days.js';
import { tellFailure } from '../failure.js';
import { format, onLanguage, t } from '../i18n/index.js';
import { named } from '../names.js';
import { readDays, readMass } from '../numbers.js';
import { addRecord, changeRecord, recordById } from '../records.js';
import { recall, remember } from '../settings.js';
import { shrinkageOf } from '../shrinkage.js';
import { announce, toast } from './toast.js';

const FIELDS = ['initial', 'incoming', 'outgoing', 'final', 'days'];
const REQUIRED = new Set(['initial', 'final', 'days']);

/**
 * A sheet being filled in: texts as typed, the product, and for a correction the record's id and time.
 * @typedef {{product: {id: number, name: string} | null, texts: Record<string, string>, id?: number, at?: string}} Sheet
 */
const blank = () => ({ product: null, texts: Object.fromEntries(FIELDS.map(name => [name, ''])) });

/** A sheet as it was remembered, whatever version of the page wrote it. */
function remembered(key) {
  const kept = recall(key);
  if (typeof kept?.texts !== 'object') return null;
  const product = Number.isInteger(kept.product?.id) && typeof kept.product.name === 'string' ? kept.product : null;
  return { ...kept, product, texts: Object.fromEntries(FIELDS.map(name => [name, String(kept.texts?.[name] ?? '')])) };
}

export function entryView({ db, picker, onProduct, onDelete, reveal }) {
  const $ = id => document.getElementById(id);
  const form = $('entry-form');
  /** The new record; kept aside while another is corrected. */
  let fresh = remembered('draft') ?? blank();
  /** The record that is corrected, or null. */
  let correction = remembered('correction');
  /** Fields the person has left, whose faults may be shown. */
  let left = new Set();
  let saving = false;
  let failure = null;
  let cameFrom = 'entry';

  const sheet = () => correction ?? fresh;

  function read(texts = sheet().texts) {
    const values = {};
    const errors = {};
    for (const name of FIELDS) {
      const { value, error } = name === 'days' ? readDays(texts[name]) : readMass(texts[name], REQUIRED.has(name));
      values[name] = value;
      if (error) errors[name] = [error];
    }
    const had = values.initial === null ? null : values.initial + (values.incoming ?? 0);
    if (had !== null && values.outgoing !== null && values.outgoing > had + 1e-9) errors.outgoing = ['error.outgoing', { kg: format.kg(had) }];
    return { values, errors };
  }

  function keep() {
    remember('draft', fresh);
    remember('correction', correction);
  }

  /** Everything but the fields' own text. */
  function render() {
    const { product, texts, at } = sheet();
    picker.show(product === null);
    form.hidden = product === null;
    $('entry-title').textContent = correction ? t('entry.titleEdit', { at: fromStored(at) ?? at }) : t('entry.title');
    $('entry-title').toggleAttribute('data-correction', correction !== null);
    $('product-chosen').replaceChildren(Object.assign(document.createElement('span'), { className: 'name', textContent: product?.name ?? '' }), icon('swap'));
    $('product-chosen').setAttribute('aria-label', product ? `${product.name}. ${t('picker.change')}` : '');
    $('entry-save').textContent = t(correction ? 'entry.saveEdit' : 'entry.save');
    $('entry-others').hidden = !correction;
    renderLast(product, texts);

    const { values, errors } = read();
    for (const name of FIELDS) {
      const error = errors[name] && left.has(name) ? errors[name] : null;
      $(name).toggleAttribute('aria-invalid', Boolean(error));
      if (error) $(name).setAttribute('aria-invalid', 'true');
      $(`${name}-error`).textContent = error ? t(...error) : '';
    }
    renderResult(values, errors);
    $('entry-failed').hidden = failure === null;
    if (failure) tellFailure($('entry-failed'), failure, t('failure.unsaved'));
  }

  /** What the last count of this product was: mostly the next record's beginning. */
  function lastCount() {
    const known = correction || !fresh.product ? null : picker.known(fresh.product.id);
    const at = known && fromStored(known.counted_at);
    return at && known.final !== null ? { kg: known.final, days: Math.max(0, daysBetween(at, new Date())) } : null;
  }

  function renderLast(product, texts) {
    const last = product && texts.initial.trim() === '' ? lastCount() : null;
    $('entry-last').hidden = last === null;
    if (last) $('entry-last-text').textContent = t(last.days === 0 ? 'entry.lastToday' : 'entry.last', { kg: format.kg(last.kg), n: last.days });
  }

  function renderResult(values, errors) {
    const usable = errors.outgoing ? { ...values, outgoing: null, initial: null } : values;
    const { theoretical, shrinkage, rate, perDay, surplus, unusual } = shrinkageOf(usable);
    $('result-theoretical').textContent = theoretical === null ? '–' : format.kg(theoretical);
    $('result-name').textContent = t(surplus ? 'entry.surplus' : 'entry.shrinkage');
    $('result-shrinkage').textContent = shrinkage === null ? '–' : format.kg(Math.abs(shrinkage));
    // Beyond a thousand per cent nobody needs its hundredths, and the line has no room for them.
    $('result-rate').textContent = rate === null ? '–' : format.percent(rate, Math.abs(rate) < 10 ? 2 : 0);
    const over = rate === null || values.days === null ? '' : t('entry.over', { n: values.days });
    $('result-over').textContent = surplus ? t('entry.surplus') : unusual ? t('entry.look') : over;
    $('result-per-day').textContent = perDay === null || surplus || values.days < 2 ? '' : t('entry.perDay', { rate: format.percent(perDay) });
    const note = surplus ? t('entry.noteSurplus', { kg: format.kg(-shrinkage) })
      : unusual ? t('entry.noteUnusual')
        : shrinkage !== null && rate === null ? t('entry.noteNoRate') : '';
    $('foot').dataset.kind = shrinkage === null ? 'empty' : surplus ? 'surplus' : unusual ? 'unusual' : 'usual';
    $('result-note').textContent = note;
    $('result-note').hidden = note === '';
    if (rate !== null) announce(`${t(surplus ? 'entry.surplus' : 'entry.shrinkage')} ${format.kg(Math.abs(shrinkage))}, ${format.percent(rate)} ${over}. ${note}`);
  }

  /** Also the fields' own text: when another sheet is shown. */
  function show() {
    for (const name of FIELDS) $(name).value = sheet().texts[name];
    left = new Set();
    failure = null;
    render();
  }

  async function save() {
    const { values, errors } = read();
    left = new Set(FIELDS);
    render();
    const wrong = FIELDS.find(name => errors[name]);
    if (wrong) return $(wrong).focus();
    if (saving) return undefined;
    saving = true;
    $('entry-save').setAttribute('aria-disabled', 'true');
    const { product, id, at } = sheet();
    const entry = { ...values, productId: product.id };
    try {
      if (correction) {
        if (!(await changeRecord(db, id, entry, fromStored(at) ?? new Date()))) return gone();
        correction = null;
        toast(t('entry.changed', { product: product.name }));
        finish(fresh);
      } else {
        await addRecord(db, entry);
        const { rate } = shrinkageOf(entry);
        toast(rate === null ? t('entry.savedNoRate', { product: product.name }) : t('entry.saved', { product: product.name, rate: format.percent(rate) }));
        finish(blank());
      }
    } catch (error) {
      // The figures stay where they are; nothing typed is lost.
      failure = error;
      render();
      $('entry-failed').scrollIntoView({ block: 'nearest' });
    } finally {
      saving = false;
      $('entry-save').removeAttribute('aria-disabled');
    }
    return undefined;
  }

  /** Lays the sheet away, and goes back to where the correction was asked for. */
  function finish(next) {
    fresh = next;
    keep();
    show();
    reveal(cameFrom);
    if (cameFrom === 'entry') (fresh.product === null ? $('picker-title') : $('initial')).focus({ preventScroll: true });
    cameFrom = 'entry';
  }

  /** The record was deleted in another tab: what was typed becomes a new one. */
  function gone() {
    fresh = { product: correction.product, texts: correction.texts };
    correction = null;
    keep();
    render();
    toast(t('entry.gone'), { bad: true });
  }

  function setField(name, text) {
    sheet().texts[name] = text;
    failure = null;
    keep();
    render();
  }

  function step(by) {
    const { value } = readDays($('days').value);
    $('days').value = String(Math.max(0, (value ?? 0) + by));
    setField('days', $('days').value);
  }

  for (const name of FIELDS) {
    $(name).addEventListener('input', () => setField(name, $(name).value));
    $(name).addEventListener('blur', () => {
      if ($(name).value.trim() !== '' && !left.has(name)) {
        left.add(name);
        render();
      }
    });
    // Enter goes on to the next field, as the keyboard of a phone promises; in the last it saves.
    $(name).addEventListener('keydown', event => {
      const next = FIELDS[FIELDS.indexOf(name) + 1];
      if (event.key !== 'Enter' || event.isComposing || !next) return;
      event.preventDefault();
      $(next).focus();
    });
  }
  // A field that is left may get a message, which moves the button from under the pointer before the press is over: so it is not left.
  form.addEventListener('mousedown', event => { if (event.target.closest('button')) event.preventDefault(); });
  form.addEventListener('submit', event => { event.preventDefault(); void save(); });
  $('days-fewer').addEventListener('click', () => step(-1));
  $('days-more').addEventListener('click', () => step(1));
  $('entry-take').addEventListener('click', () => {
    const last = lastCount();
    if (!last) return;
    fresh.texts.initial = $('initial').value = format.plain(last.kg);
    if (last.days > 0 && fresh.texts.days.trim() === '') fresh.texts.days = $('days').value = String(last.days);
    keep();
    render();
    $('final').focus();
  });
  $('product-chosen').addEventListener('click', () => {
    sheet().product = null;
    keep();
    render();
    picker.focus();
  });
  $('entry-cancel').addEventListener('click', () => { correction = null; finish(fresh); });
  $('entry-delete').addEventListener('click', async () => {
    const { id, product } = correction;
    if (await onDelete({ id, product: product.name })) { correction = null; finish(fresh); }
  });
  onLanguage(render);
  show();
  picker.first.then(products => {
    // What was remembered may be of a notebook that was cleared since.
    for (const kept of [fresh, correction]) {
      if (!kept?.product) continue;
      const { id, name } = kept.product;
      const found = products.find(product => product.id === id && product.name === name) ?? named(products, name);
      kept.product = found ? { id: found.id, name: found.name } : null;
    }
    keep();
    render();
    if (sheet().product) onProduct(sheet().product);
  });

  return {
    /** A product was picked in the list. */
    pick(product) {
      sheet().product = product;
      keep();
      render();
      onProduct(product);
      $('initial').focus();
    },
    /** Opens a record for correction. */
    async edit(id) {
      const record = await recordById(db, id);
      if (!record) return toast(t('record.gone'), { bad: true });
      const typed = value => (value === null ? '' : format.plain(value));
      correction = {
        id,
        at: record.counted_at,
        product: record.product_id === null ? null : { id: record.product_id, name: record.product ?? t('record.noProduct') },
        texts: Object.fromEntries(FIELDS.map(name => [name, typed(record[name])])),
      };
      keep();
      show();
      if (correction.product) onProduct(correction.product);
      cameFrom = document.body.dataset.view;
      reveal('entry');
      return $('initial').focus();
    },
    forget(id) {
      if (correction?.id === id) { correction = null; keep(); show(); }
    },
  };
}
