/** What arrived over time. */
import { get, query } from '../api.js';
import { chart } from '../chart.js';
import { el } from '../dom.js';
import { bytes, day, hour, moment, now_ms, number } from '../format.js';
import { t } from '../i18n/index.js';
import { empty, facts, table, title } from '../parts.js';
import { href } from '../place.js';

const SPANS = [6, 24, 168, 720];

export const ingest = {
  title: () => t('nav.ingest'),
  load: ({ query: { hours } }) => get(query('ingest', { hours: SPANS.includes(Number(hours)) ? hours : 24 })),

  draw({ bucket_ms, buckets }, at) {
    const hours = SPANS.includes(Number(at.query.hours)) ? Number(at.query.hours) : 24;
    const sum = of => buckets.reduce((total, bucket) => total + bucket[of], 0);
    const [changes, rejected] = [sum('changes'), sum('rejected')];
    const shown = el('span', { class: 'sr-only' }, t('ingest.span', { n: hours }));
    return [
      title(t('ingest.title')),
      el('section', { class: 'card', 'aria-labelledby': 'title' },
        el('nav', { class: 'chips', 'aria-label': t('ingest.spans') }, SPANS.map(of => el('a', {
          class: 'chip', href: href(['ingest'], { hours: of }), 'aria-current': of === hours ? 'true' : null,
        }, t(`ingest.last${of}`)))),
        facts([[t('ingest.applied'), number(changes)], [t('ingest.rejected'), number(rejected)], [t('ingest.batches'), number(sum('batches'))],
          [t('ingest.bytes'), bytes(sum('bytes'))]]),
        buckets.length === 0 || sum('batches') === 0 ? empty(t('ingest.none'))
          : [el('figure', { class: 'chart' }, chart(buckets, {
            bucket_ms, until_ms: now_ms(), from_ms: now_ms() - hours * 3_600_000, number, time: hours > 48 ? day : hour,
            label: t('ingest.chart', { changes: changes + rejected, rejected, n: hours }),
          }), el('figcaption', { class: 'legend' }, shown, el('span', { class: 'key applied' }, t('ingest.applied')), el('span', { class: 'key rejected' }, t('ingest.rejected')))),
          el('details', {}, el('summary', {}, t('ingest.table')), table(COLUMNS(), [...buckets].reverse().filter(({ batches }) => batches > 0).map(one => ({
            key: String(one.at_ms), cells: { at: moment(one.at_ms), changes: number(one.changes), rejected: number(one.rejected), batches: number(one.batches), bytes: bytes(one.bytes) },
          })), { label: t('ingest.title') }))]),
    ];
  },
};

const COLUMNS = () => [{ key: 'at', label: t('ingest.from'), row: true }, { key: 'changes', label: t('ingest.applied'), class: 'number' },
  { key: 'rejected', label: t('ingest.rejected'), class: 'number' }, { key: 'batches', label: t('ingest.batches'), class: 'number' },
  { key: 'bytes', label: t('ingest.bytes'), class: 'number' }];
