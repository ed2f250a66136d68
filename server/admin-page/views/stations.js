/** The fleet: who is silent and since when, then every station. */
import { get } from '../api.js';
import { CLOCK_OFF_MS, LOW_DISK_BYTES, OLDEST_PENDING_MS } from '../concern.js';
import { bdi, el } from '../dom.js';
import { bytes, duration, moment, NONE, now_ms, number, offset, when } from '../format.js';
import { t } from '../i18n/index.js';
import { COLUMNS, listed } from '../list.js';
import { badge, button, choice, empty, icon, stationName, table, title } from '../parts.js';
import { href } from '../place.js';
import { invite } from './invite.js';

/** Silent stations that are told one by one at the top; the list below has all. */
const TOLD_MAX = 8;

export const stations = {
  title: () => t('nav.stations'),

  load: () => get('fleet'),

  draw(fleet, at) {
    const { counts } = fleet;
    return [
      el('div', { class: 'head' }, title(t('fleet.title')),
        fleet.stations.length > 0 && button(t('invite.button'), () => invite(at), { class: 'primary', id: 'invite' })),
      fleet.stations.length === 0 ? firstRun(at) : [silent(fleet), others(counts, at), all(fleet, at)],
    ];
  },
};

const firstRun = at => el('section', { class: 'card first' }, el('h2', {}, t('fleet.first')), el('p', {}, t('fleet.firstWhy')),
  button(t('fleet.firstButton'), () => invite(at), { class: 'primary', id: 'invite' }));

/** The answer to the question that the page is opened for. */
function silent({ stations: all, counts }) {
  const quiet = all.filter(({ state }) => state === 'silent');
  if (quiet.length === 0) {
    const heard = counts.active > 0;
    return el('section', { class: 'card lamp', 'data-level': heard ? 'safe' : 'none', 'aria-labelledby': 'silent-title' },
      el('h2', { id: 'silent-title' }, heard && icon('active'), t(heard ? 'silent.none' : 'silent.nobody')),
      heard && el('p', {}, t('silent.noneWhy')));
  }
  return el('section', { class: 'card lamp', 'data-level': 'danger', 'aria-labelledby': 'silent-title' },
    el('h2', { id: 'silent-title' }, icon('silent'), t('silent.some', { n: quiet.length })),
    el('ul', { class: 'silent', role: 'list' }, quiet.slice(0, TOLD_MAX).map(station => el('li', { 'data-key': `s${station.number}` },
      stationName(station),
      el('span', {}, station.last_contact_ms === null ? t('silent.never')
        : [el('strong', {}, duration(now_ms() - station.last_contact_ms)), ' ',
          el('small', {}, t('silent.since', { moment: moment(station.last_contact_ms) }))]),
      station.pending > 0 && el('span', { class: 'behind' }, t('silent.pending', { n: station.pending }))))),
    quiet.length > TOLD_MAX && el('p', {}, el('a', { href: href(['stations'], { state: 'silent' }) },
      t('silent.more', { n: quiet.length - TOLD_MAX }))));
}

/** How many there are of each state: each is a way to see these alone. */
function others(counts, at) {
  const { state = '' } = at.query;
  const total = Object.values(counts).reduce((sum, n) => sum + n, 0);
  const chip = (value, words, n) => el('a', {
    class: 'chip', href: href(['stations'], { ...at.query, state: value, page: '' }), 'data-state': value || null,
    'aria-current': state === value ? 'true' : null,
  }, words, ' ', el('b', {}, number(n)));
  return el('nav', { class: 'chips', 'aria-label': t('fleet.states') },
    chip('', t('fleet.all'), total),
    ['silent', 'forked', 'active', 'invited', 'revoked'].map(of => (counts[of] > 0 || state === of) && chip(of, t(`states.${of}`), counts[of])));
}

function all(fleet, at) {
  const { q = '', state = '', sort = '', down = '', page = '1' } = at.query;
  const list = listed(fleet.stations, { search: q, state, sort, down: down === '1', page: Number(page) });
  return el('section', { class: 'card', 'aria-labelledby': 'all-title' },
    el('h2', { id: 'all-title', class: 'sr-only' }, t('fleet.list')),
    el('form', { class: 'tools', role: 'search', onsubmit: event => event.preventDefault() },
      el('label', { class: 'search' }, el('span', { class: 'sr-only' }, t('fleet.search')), icon('search'),
        el('input', {
          type: 'search', id: 'search', autocomplete: 'off', spellcheck: 'false', placeholder: t('fleet.search'), '.value': q,
          oninput: event => at.turn({ q: event.target.value, page: '' }),
        })),
      el('div', { class: 'narrow' }, choice(t('fleet.sort'), sort, [['', t('fleet.sortSilent')],
        ...Object.keys(COLUMNS).map(of => [of, t(`column.${of}`)])],
      of => at.turn({ sort: of, down: COLUMNS[of] === 'down' ? '1' : '', page: '' })))),
    el('p', { class: 'quiet', role: 'status', id: 'found' }, found(list, fleet.stations.length, q !== '' || state !== '')),
    list.found === 0 ? empty(t('fleet.nothing'), ' ', el('a', { href: href(['stations']) }, t('fleet.showAll')))
      : table(columns(at), list.shown.map(station => row(station, fleet.server)), { label: t('fleet.list'), className: 'stations' }),
    list.pages > 1 && pager(list, at));
}

const found = ({ found: n, from, shown, pages }, all_, narrowed) => (pages > 1 ? t('fleet.range', { first: from + 1, last: from + shown.length, n })
  : narrowed ? t('fleet.found', { n, all: all_ }) : t('fleet.count', { n }));

function columns(at) {
  const { sort = '', down = '' } = at.query;
  return Object.keys(COLUMNS).map(key => {
    const sorted = sort === key ? (down === '1' ? 'descending' : 'ascending') : null;
    const turn = () => at.turn({ sort: key, down: (sorted ? down !== '1' : COLUMNS[key] === 'down') ? '1' : '', page: '' });
    const numeric = ['pending', 'tidemark', 'clock', 'rejects', 'schema', 'disk'].includes(key) ? 'number' : '';
    return {
      key, label: t(`column.${key}`), class: `${numeric} ${key}`.trim(), row: key === 'name', bare: key === 'name' || key === 'state',
      head: el('th', { role: 'columnheader', scope: 'col', class: numeric || null, 'aria-sort': sorted },
        el('button', { type: 'button', onclick: turn }, t(`column.${key}`),
          sorted && icon(sorted === 'ascending' ? 'up' : 'down'))),
    };
  });
}

function row(station, server) {
  const known = (value, content, bad = false) => (value === null || value === undefined
    ? { content: el('span', { class: 'none' }, NONE), class: 'none' } : { content, class: bad ? 'bad' : '' });
  const { pending, oldest_ms, clock_offset_ms, rejects_open, schema_version, client_version, free_disk_bytes } = station;
  const newest = server.schema?.version;
  const invited = station.state === 'invited';
  return {
    key: station.number === null ? `i${station.name}` : `n${station.number}`,
    cells: {
      name: [stationName(station), station.number !== null && el('small', {}, ` ${t('station.number', { number: String(station.number) })}`)],
      state: [badge(station.state), invited && station.code_expires_at_ms !== null && el('small', {},
        t(station.code_expires_at_ms < now_ms() ? 'station.codeOver' : 'station.codeUntil', { moment: moment(station.code_expires_at_ms) }))],
      contact: invited ? known(null) : { content: when(station.last_contact_ms, t('time.never')), class: station.state === 'silent' ? 'bad' : '' },
      push: invited ? known(null) : { content: when(station.last_push_ms, t('time.never')) },
      pending: known(pending, number(pending)),
      oldest: known(pending === 0 ? null : oldest_ms, when(oldest_ms), now_ms() - oldest_ms > OLDEST_PENDING_MS),
      tidemark: invited ? known(null) : known(station.tidemark, number(station.tidemark)),
      clock: known(clock_offset_ms, offset(clock_offset_ms), Math.abs(clock_offset_ms) > CLOCK_OFF_MS),
      rejects: known(rejects_open || null, el('a', { href: href(['rejects'], { station: station.number }),
        'aria-label': t('rejects.ofStation', { n: rejects_open, name: station.name }) }, number(rejects_open)), true),
      schema: known(schema_version, number(schema_version), newest !== undefined && schema_version < newest),
      client: known(client_version, bdi(client_version)),
      disk: known(free_disk_bytes, bytes(free_disk_bytes), free_disk_bytes < LOW_DISK_BYTES),
    },
  };
}

function pager({ page, pages }, at) {
  const to = (n, words, name) => (n < 1 || n > pages ? el('span', { class: 'button icon', 'aria-hidden': 'true' }, icon(name))
    : el('a', { class: 'button icon', href: href(['stations'], { ...at.query, page: n }), 'aria-label': words }, icon(name)));
  return el('nav', { class: 'pager', 'aria-label': t('fleet.pages') }, to(page - 1, t('fleet.before'), 'left'),
    el('span', {}, t('fleet.page', { page, pages })), to(page + 1, t('fleet.after'), 'right'));
}
