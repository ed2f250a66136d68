/** The records of one local day, today's to begin with: what was counted, what it lost, and the way to correct or delete it. */
import { el, reconcile } from '../dom.js';
import { dayStart } from '../days.js';
import { describe } from '../failure.js';
import { currentLanguage, format, onLanguage, t } from '../i18n/index.js';
import { icon } from '../icons.js';
import { RECORDS_OF_DAY, TOTAL_OF_DAY, workedOut } from '../records.js';

const PAGE = 60;

export function dayView({ db, onEdit, onDelete, onHistory }) {
  const $ = id => document.getElementById(id);
  let offset = 0;
  let limit = PAGE;
  let shown = dayStart(new Date());
  let records = [];
  let total = { records: 0, shrinkage: 0 };
  let stop = [];

  function subscribe() {
    for (const end of stop) end();
    shown = dayStart(new Date(), offset);
    const span = [shown, dayStart(new Date(), offset + 1)];
    const failed = error => { $('day-total').textContent = describe(error).text; };
    stop = [
      db.liveQuery(RECORDS_OF_DAY, [...span, limit], rows => { records = rows.map(workedOut); render(); }, failed),
      db.liveQuery(TOTAL_OF_DAY, span, ([row]) => { total = row; render(); }, failed),
    ];
  }

  function render() {
    $('day-title').textContent = offset === 0 ? t('day.today') : offset === -1 ? t('day.yesterday') : format.longDay(shown);
    $('day-after').disabled = offset === 0;
    const { records: n, shrinkage } = total;
    $('day-total').textContent = n === 0 ? t(offset === 0 ? 'day.noneToday' : 'day.none')
      : t(shrinkage < 0 ? 'day.totalSurplus' : 'day.total', { n, kg: format.kg(Math.abs(shrinkage)) });
    reconcile($('records'), records, record => String(record.id), item, currentLanguage());
    const more = Math.min(PAGE, n - records.length);
    $('day-more').hidden = more <= 0;
    if (more > 0) $('day-more').textContent = t('day.more', { n: more });
  }

  function item(record) {
    const product = record.product ?? t('record.noProduct');
    const at = record.at ? format.time(record.at) : '–';
    return el('li', { class: 'record' },
      el('div', { class: 'facts' },
        el('p', { class: 'head' },
          el('button', { type: 'button', class: 'name', 'data-focus': 'history', title: t('record.historyOf', { product }), onclick: () => onHistory(record) }, product), ' ',
          el('strong', { class: record.surplus ? 'rate surplus' : record.unusual ? 'rate unusual' : 'rate' },
            record.rate === null ? t('record.noRate') : format.percent(record.rate))),
        el('p', { class: 'quiet' }, [at, `${figures(record)}`, t('record.days', { n: record.days ?? 0 })].join(' · '))),
      el('div', { class: 'tools' },
        el('button', { type: 'button', class: 'icon', 'data-focus': 'edit', 'aria-label': t('record.editOf', { product, at }), onclick: () => onEdit(record.id) }, icon('pen')),
        el('button', { type: 'button', class: 'icon', 'data-focus': 'delete', 'aria-label': t('record.deleteOf', { product, at }), onclick: () => void onDelete({ id: record.id, product }) }, icon('bin'))));
  }

  /** `1.2 + 3 − 0.5 → 3.6 kg`; movements only where there were any. */
  function figures({ initial, incoming, outgoing, final }) {
    const moved = (incoming ? ` + ${format.mass(incoming)}` : '') + (outgoing ? ` − ${format.mass(outgoing)}` : '');
    return `${initial === null ? '?' : format.mass(initial)}${moved} → ${final === null ? '?' : format.kg(final)}`;
  }

  function go(by) {
    offset = Math.min(0, offset + by);
    limit = PAGE;
    subscribe();
  }

  /** Midnight passes, also while the page sleeps: the day shown is counted from the new today. */
  function watchMidnight() {
    const today = dayStart(new Date());
    if (dayStart(new Date(), offset).getTime() !== shown.getTime()) subscribe();
    setTimeout(watchMidnight, Math.min(dayStart(today, 1) - Date.now() + 500, 600_000));
  }

  $('day-before').addEventListener('click', () => go(-1));
  $('day-after').addEventListener('click', () => go(1));
  $('day-more').addEventListener('click', () => { limit += PAGE; subscribe(); });
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden && dayStart(new Date(), offset).getTime() !== shown.getTime()) subscribe();
  });
  onLanguage(render);
  subscribe();
  watchMidnight();
}
