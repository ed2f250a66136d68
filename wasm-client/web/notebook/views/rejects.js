/** The changes that were refused: why, and the three ways on: correct, send again, discard. */
import { el, reconcile } from '../dom.js';
import { fromStored } from '../days.js';
import { describe, forTheOffice, tellFailure } from '../failure.js';
import { LANGUAGES, currentLanguage, format, onLanguage, t } from '../i18n/index.js';
import { parseDecimal } from '../numbers.js';
import { shrinkageOf } from '../shrinkage.js';
import { toast } from './toast.js';

/** What can be corrected in the rows this page writes: column, label, kind. */
const FIELDS = {
  calculation_data: [
    ['initial_balance', 'entry.initial', 'number'], ['incoming', 'entry.incoming', 'number'], ['outgoing', 'entry.outgoing', 'number'],
    ['final_balance', 'entry.final', 'number'], ['storage_days', 'entry.days', 'number'], ['calculation_date', 'reject.date', 'time'],
  ],
  nomenclature: [['name', 'reject.name', 'text']],
};

export function rejectsView({ db }) {
  const $ = id => document.getElementById(id);
  const list = $('rejects');
  let seen = '';
  let shown = [];
  let names = new Map();

  async function load() {
    try {
      shown = await db.rejects();
      names = new Map((await db.query('SELECT id, name FROM nomenclature')).map(({ id, name }) => [id, name]));
      render();
    } catch (error) {
      toast(describe(error).text, { bad: true });
    }
  }

  function render() {
    $('device-rejects').hidden = shown.length === 0;
    reconcile(list, shown, reject => String(reject.seq), item, currentLanguage());
  }

  function item(reject) {
    const { seq, table, op, row } = reject;
    const inputs = op === 'delete' ? [] : fieldsOf(reject).map(([column, label, kind]) => input(seq, column, label, kind, row[column]));
    const failed = el('p', { class: 'error', role: 'alert' });
    const run = work => async () => {
      failed.textContent = '';
      try {
        await work();
        await load();
      } catch (error) {
        tellFailure(failed, error);
      }
    };
    const again = run(async () => { await db.requeue(seq); toast(t('reject.sent')); });
    const correct = run(async () => {
      const set = corrections(table, row, inputs);
      if (set === null) return;
      await (Object.keys(set).length === 0 ? db.requeue(seq) : db.repair(seq, set));
      toast(t('reject.sent'));
    });
    const discard = run(async () => { await db.discard(seq); toast(t('reject.discarded')); });

    const sure = el('div', { class: 'sure', role: 'group', '.hidden': true },
      el('p', {}, t('reject.sure')),
      el('button', { type: 'button', class: 'danger', onclick: discard }, t('reject.yes')),
      el('button', { type: 'button', onclick: () => { sure.hidden = true; ways.hidden = false; ways.querySelector('.danger').focus(); } }, t('reject.keep')));
    const ways = el('div', { class: 'actions' },
      inputs.length > 0 && el('button', { type: 'submit', class: 'primary' }, t('reject.save')),
      el('button', { type: 'button', onclick: again }, t('reject.again')),
      el('button', { type: 'button', class: 'danger', onclick: () => { ways.hidden = true; sure.hidden = false; sure.querySelector('button').focus(); } }, t('reject.discard')));
    const key = `reject.code.${reject.code}`;
    return el('li', { class: 'reject' },
      el('h4', {}, title(reject)),
      el('p', { class: 'why' }, t(key in LANGUAGES.en ? key : 'reject.code.other')),
      forTheOffice(reject.message),
      el('form', { novalidate: true, onsubmit: event => { event.preventDefault(); void correct(); } },
        el('div', { class: 'fields' }, inputs.map(({ field }) => field)), failed, ways, sure));
  }

  function title({ table, op, row }) {
    const what = table === 'calculation_data' ? `${t('reject.record')}: ${names.get(row.nomenclature_id) ?? t('record.noProduct')}`
      : table === 'nomenclature' ? `${t('reject.product')}: ${row.name ?? '–'}`
        : `${t('reject.other', { table })}${row.id === undefined ? '' : ` ${row.id}`}`;
    return op === 'delete' ? `${t('reject.delete')} · ${what}` : what;
  }

  /** Rows of tables that this page does not write are shown column by column. */
  const fieldsOf = ({ table, row }) => FIELDS[table]
    ?? Object.keys(row).filter(column => column !== 'id' && row[column] !== null && !(row[column] instanceof Uint8Array))
      .map(column => [column, null, typeof row[column] === 'number' ? 'number' : 'text']);

  function input(seq, column, label, kind, value) {
    const id = `reject-${seq}-${column}`;
    const text = kind === 'time' ? localTime(value) : value === null || value === undefined ? '' : typeof value === 'number' ? format.plain(value) : String(value);
    const control = el('input', {
      id, autocomplete: 'off', inputmode: kind === 'number' ? 'decimal' : null, type: kind === 'time' ? 'datetime-local' : 'text', step: kind === 'time' ? '1' : null,
      '.value': text, 'aria-describedby': `${id}-error`,
    });
    const error = el('p', { class: 'error', id: `${id}-error` });
    return { column, kind, text, control, error, field: el('div', { class: kind === 'number' ? 'field' : 'field wide' }, el('label', { for: id }, label ? t(label) : column), control, error) };
  }

  onLanguage(render);
  db.on('change', () => { if ($('device').open) void load(); });
  return {
    /** A change that is refused once more leaves the count as it was, and the log longer. */
    show({ rejects, lastSeq, tidemark }) {
      const now = JSON.stringify([rejects, lastSeq, tidemark]);
      if (now === seen) return;
      seen = now;
      void load();
    },
  };
}

/** The columns that were changed, as they are to be stored; null when a field cannot be read, which is then said beside it. */
function corrections(table, row, inputs) {
  const set = {};
  let fault = null;
  for (const { column, kind, text, control, error } of inputs) {
    error.textContent = '';
    control.removeAttribute('aria-invalid');
    if (control.value === text) continue;
    if (kind === 'number') {
      const value = parseDecimal(control.value);
      if (value === undefined) {
        error.textContent = t('error.number');
        control.setAttribute('aria-invalid', 'true');
        fault ??= control;
      } else set[column] = value;
    } else if (kind === 'time') {
      const at = new Date(control.value);
      if (Number.isNaN(at.getTime())) {
        error.textContent = t('error.missing');
        control.setAttribute('aria-invalid', 'true');
        fault ??= control;
      } else set[column] = at;
    } else set[column] = control.value;
  }
  if (fault) {
    fault.focus();
    return null;
  }
  return table === 'calculation_data' ? { ...set, ...consequences(row, set) } : set;
}

/** A record's total follows its figures, its period its time and days. */
function consequences(row, set) {
  const now = { ...row, ...set };
  const follow = {};
  if (['initial_balance', 'incoming', 'outgoing', 'final_balance'].some(column => column in set)) {
    follow.inventory_shrinkage_total = shrinkageOf({
      initial: now.initial_balance, incoming: now.incoming, outgoing: now.outgoing, final: now.final_balance, days: now.storage_days,
    }).shrinkage;
  }
  const end = now.calculation_date instanceof Date ? now.calculation_date : fromStored(now.calculation_date);
  if (end && ('calculation_date' in set || 'storage_days' in set)) {
    follow.inventory_period_end = end;
    follow.inventory_period_start = typeof now.storage_days === 'number' ? new Date(end.getTime() - now.storage_days * 86_400_000) : null;
  }
  return follow;
}

/** A stored time as `datetime-local` takes it: local, to the second. */
function localTime(stored) {
  const at = fromStored(stored);
  return at ? new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19) : '';
}
