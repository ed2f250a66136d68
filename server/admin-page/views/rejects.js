/** The rejects of all stations, filtered, and replayed or discarded many at once. */
import { get, query } from '../api.js';
import { el } from '../dom.js';
import { t } from '../i18n/index.js';
import { button, choice, title } from '../parts.js';
import { code as codeWord, CODES } from '../words.js';
import { rejectList } from './reject-list.js';

const PAGE_REJECTS = 100;
/** The server's bound for one answer; a longer list is not refreshed by itself. */
const AT_ONCE_MAX = 500;

export const rejects = {
  title: () => t('nav.rejects'),

  /** Again as many as were shown: what was added to the list by and by stays. */
  async load({ query: asked, local, data }) {
    if (local.count > AT_ONCE_MAX) return data;
    const { station, code, state = 'open' } = asked;
    const [first, fleet] = await Promise.all([
      get(query('rejects', { station, code, state, limit: Math.max(PAGE_REJECTS, local.count ?? 0) })),
      local.stations ?? get('fleet').then(({ stations }) => stations.filter(({ number }) => number !== null)),
    ]);
    local.stations = fleet;
    return first;
  },

  draw(data, at) {
    const { station = '', code = '', state = 'open' } = at.query;
    const to = more => at.go(['rejects'], { ...at.query, ...more });
    const stations = at.local.stations.filter(({ number, rejects_open }) => rejects_open > 0 || String(number) === station);
    return [
      title(t('rejects.title')),
      el('section', { class: 'card', 'aria-label': t('rejects.list') },
        el('div', { class: 'tools' },
          choice(t('rejects.byStation'), station, [['', t('rejects.anyStation')], ...stations.map(({ number, name }) => [String(number), `${name} (${number})`])],
            value => to({ station: value })),
          choice(t('rejects.byCode'), code, [['', t('rejects.anyCode')], ...CODES.map(of => [of, `${of}: ${codeWord(of)}`])], value => to({ code: value })),
          choice(t('rejects.byState'), state, ['open', 'replayed', 'superseded', 'discarded', 'all'].map(of => [of, t(`reject.${of}`)]), value => to({ state: value }))),
        rejectList(data.rejects, at, { none: station || code || state !== 'open' ? t('rejects.noneSuch') : t('rejects.none') }),
        data.more && button(t('list.more'), () => more(data, at), { class: 'wide', id: 'more' })),
    ];
  },
};

async function more(data, at) {
  await at.attempt(async () => {
    const { station, code, state = 'open' } = at.query;
    const next = await get(query('rejects', { station, code, state, before: data.rejects.at(-1).id, limit: PAGE_REJECTS }));
    data.rejects.push(...next.rejects);
    data.more = next.more;
    at.local.count = data.rejects.length;
    at.redraw();
  });
}
