/** Who did what: each act of an operator, the newest first. */
import { get, query } from '../api.js';
import { bdi, el } from '../dom.js';
import { date } from '../format.js';
import { t } from '../i18n/index.js';
import { button, empty, stationName, table, title } from '../parts.js';
import { act } from '../words.js';

const PAGE_ACTS = 100;
/** The server's bound for one answer; a longer list is not refreshed by itself. */
const AT_ONCE_MAX = 500;

export const audit = {
  title: () => t('nav.audit'),

  load: ({ local, data }) => (local.count > AT_ONCE_MAX ? data : get(query('audit', { limit: Math.max(PAGE_ACTS, local.count ?? 0) }))),

  draw(data, at) {
    const more = () => at.attempt(async () => {
      const next = await get(query('audit', { before: data.acts.at(-1).id, limit: PAGE_ACTS }));
      data.acts.push(...next.acts);
      data.more = next.more;
      at.local.count = data.acts.length;
      at.redraw();
    });
    return [title(t('audit.title')), el('section', { class: 'card', 'aria-label': t('audit.list') }, acts(data.acts),
      data.more && button(t('list.more'), more, { class: 'wide', id: 'more' }))];
  },
};

/** A table of acts. */
export function acts(list, { station = true } = {}) {
  if (list.length === 0) return empty(t('audit.none'));
  const columns = [
    { key: 'at', label: t('audit.at'), row: true }, { key: 'operator', label: t('audit.operator') }, { key: 'act', label: t('audit.act') },
    station && { key: 'station', label: t('column.name') }, { key: 'detail', label: t('audit.detail'), class: 'why' },
  ].filter(Boolean);
  return table(columns, list.map(one => ({
    key: String(one.id),
    cells: {
      at: date(one.at_ms), operator: bdi(one.operator), act: act(one.act),
      station: one.station === null ? { content: '', class: 'none' } : stationName({ number: one.station, name: t('station.number', { number: String(one.station) }) }),
      detail: one.detail === '' ? { content: '', class: 'none' } : bdi(one.detail),
    },
  })), { label: t('audit.list'), className: 'acts' });
}

