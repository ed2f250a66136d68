/** How the shrinkage of one product went: a chart, and the same figures as a table. */
import { chart, layout, nearest } from '../chart.js';
import { el, reconcile } from '../dom.js';
import { describe } from '../failure.js';
import { currentLanguage, format, onLanguage, t } from '../i18n/index.js';
import { icon } from '../icons.js';
import { RECORDS_OF_PRODUCT, workedOut } from '../records.js';

/** So many records make the chart; more would be a smear on a phone. */
const RECORDS_MAX = 400;
const ROWS = 10;
const CHART_HEIGHT = 220;

export function historyView({ db, onEdit, onChoose }) {
  const $ = id => document.getElementById(id);
  const figure = $('chart');
  let product = null;
  let records = [];
  let rows = ROWS;
  let stop = () => {};
  let drawn = '';

  function render() {
    const empty = !product || records.length === 0;
    $('history-empty').hidden = !empty;
    $('history-body').hidden = empty;
    $('history-choose').hidden = product !== null;
    $('history-note').textContent = product ? `${product.name}. ${t('history.none')}` : t('history.choose');
    if (empty) return;
    $('history-product').textContent = product.name;
    $('history-caption').textContent = t('history.table', { product: product.name });
    renderFigures();
    renderChart();
    reconcile($('history-rows'), records.slice(0, rows), record => String(record.id), row, currentLanguage());
    const more = Math.min(ROWS, records.length - rows);
    $('history-more').hidden = more <= 0;
    if (more > 0) $('history-more').textContent = t('day.more', { n: more });
    $('history-limit').hidden = records.length < RECORDS_MAX;
    $('history-limit').textContent = t('history.limit', { n: RECORDS_MAX });
  }

  /** The records that have a rate and a time, oldest first. */
  const points = () => records.filter(({ rate, at }) => rate !== null && at !== null).reverse();

  function renderFigures() {
    const rates = points().map(({ rate }) => rate);
    $('history-figures').hidden = rates.length === 0;
    if (rates.length === 0) return;
    const mean = rates.reduce((sum, rate) => sum + rate, 0) / rates.length;
    const figures = [['history.latest', format.percent(rates[rates.length - 1])], ['history.mean', format.percent(mean)]];
    if (rates.length > 1) figures.push(['history.range', `${format.percent(Math.min(...rates))} – ${format.percent(Math.max(...rates))}`]);
    $('history-figures').replaceChildren(...figures.map(([key, value]) => el('div', {}, el('dt', {}, t(key)), el('dd', {}, value))));
  }

  function renderChart() {
    const shown = points();
    const width = Math.round(figure.clientWidth);
    figure.hidden = shown.length === 0;
    if (shown.length === 0 || width === 0) return;
    const print = JSON.stringify([width, currentLanguage(), product, shown.map(({ counted_at, rate }) => [counted_at, rate])]);
    if (print === drawn) return;
    drawn = print;
    const rates = shown.map(({ rate }) => rate);
    const drawing = chart(shown, {
      width,
      height: CHART_HEIGHT,
      label: t('history.chart', {
        product: product.name, n: shown.length, low: format.percent(Math.min(...rates)), high: format.percent(Math.max(...rates)),
        latest: format.percent(rates[rates.length - 1]),
      }),
      percent: rate => format.percent(rate, 1),
      day: format.day,
    });
    const readout = el('figcaption', { class: 'readout', 'aria-hidden': 'true' }, t('history.axis'));
    const { spots } = layout(shown, { width, height: CHART_HEIGHT });
    const pointer = drawing.querySelector('.pointer');
    drawing.addEventListener('pointermove', event => {
      const box = drawing.getBoundingClientRect();
      const at = nearest(spots, ((event.clientX - box.left) / box.width) * width);
      for (const end of ['x1', 'x2']) pointer.setAttribute(end, spots[at].x);
      pointer.setAttribute('visibility', 'visible');
      const { at: day, rate, final, days } = shown[at];
      readout.textContent = t('history.point', { day: format.day(day), rate: format.percent(rate), final: format.kg(final), days: t('record.days', { n: days }) });
    });
    drawing.addEventListener('pointerleave', () => {
      pointer.setAttribute('visibility', 'hidden');
      readout.textContent = t('history.axis');
    });
    figure.replaceChildren(readout, drawing);
  }

  function row(record) {
    const mass = value => (value === null ? '–' : format.mass(value));
    const at = record.at ? format.moment(record.at) : '';
    const masses = `${record.initial === null ? '?' : format.mass(record.initial)} → ${record.final === null ? '?' : format.kg(record.final)}`;
    return el('tr', {},
      el('th', { scope: 'row' }, record.at ? format.day(record.at) : '–', ' ', el('span', { class: 'masses' }, masses)),
      el('td', { class: 'mass' }, mass(record.initial)), el('td', { class: 'mass' }, mass(record.final)), el('td', {}, mass(record.days)),
      el('td', { class: record.surplus ? 'surplus' : record.unusual ? 'unusual' : null }, record.rate === null ? '–' : format.percent(record.rate)),
      el('td', {}, el('button', {
        type: 'button', class: 'icon', 'data-focus': 'edit', 'aria-label': t('record.editOf', { product: product.name, at }), onclick: () => onEdit(record.id),
      }, icon('pen'))));
  }

  $('history-more').addEventListener('click', () => { rows += ROWS; render(); });
  $('history-choose').addEventListener('click', onChoose);
  new ResizeObserver(() => { if (product) renderChart(); }).observe(figure.parentElement);
  onLanguage(render);
  render();

  return {
    show(next) {
      if (product?.id === next.id) return;
      product = next;
      records = [];
      rows = ROWS;
      stop();
      stop = db.liveQuery(RECORDS_OF_PRODUCT, [next.id, RECORDS_MAX], found => { records = found.map(workedOut); render(); },
        error => { $('history-note').textContent = describe(error).text; });
      render();
    },
  };
}
