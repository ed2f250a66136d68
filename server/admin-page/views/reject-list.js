/** A list of rejects with their images, and what is done about those that were chosen. */
import { Failure, get, post } from '../api.js';
import { ask, field } from '../dialog.js';
import { bdi, el } from '../dom.js';
import { date } from '../format.js';
import { t } from '../i18n/index.js';
import { button, empty, stationName, table } from '../parts.js';
import { code as codeWord, failed, op, outcome, rejectState } from '../words.js';

/** So many are sent in one request. */
const AT_ONCE_MAX = 500;

/** `local`: `{ chosen: Set of ids, images: Map by id, results }`, which this list keeps between drawings. */
export function rejectList(rejects, at, { station = true, none }) {
  const { local } = at;
  local.chosen ??= new Set();
  local.images ??= new Map();
  const open = rejects.filter(({ state }) => state === 'open');
  const chosen = open.filter(({ id }) => local.chosen.has(id));
  if (rejects.length === 0) return [results(local), empty(none)];
  return [results(local), open.length > 0 && bar(open, chosen, at), table(columns(station), rejects.map(reject => row(reject, at)),
    { label: t('rejects.list'), className: 'rejects' })];
}

function bar(open, chosen, at) {
  const all = chosen.length === open.length;
  const toggle = () => {
    at.local.chosen = new Set(all ? [] : open.map(({ id }) => id));
    at.redraw();
  };
  return el('div', { class: 'bulk', role: 'group', 'aria-label': t('rejects.bulk') },
    el('label', { class: 'check' }, el('input', { type: 'checkbox', id: 'choose-all', '.checked': all, '.indeterminate': chosen.length > 0 && !all, onchange: toggle }),
      el('span', {}, chosen.length === 0 ? t('rejects.chooseAll', { n: open.length }) : t('rejects.chosen', { n: chosen.length }))),
    button(t('rejects.replay'), () => replay(chosen, at), { '.disabled': chosen.length === 0, id: 'replay' }),
    button(t('rejects.discard'), () => discard(chosen, at), { '.disabled': chosen.length === 0, id: 'discard', class: 'danger' }));
}

const columns = station => [
  { key: 'choose', label: t('rejects.choose'), bare: true, unseen: true, class: 'choose' },
  station && { key: 'station', label: t('column.name') },
  { key: 'row', label: t('rejects.row'), row: true },
  { key: 'why', label: t('rejects.why'), class: 'why' },
  { key: 'at', label: t('rejects.at') },
  { key: 'state', label: t('rejects.state') },
  { key: 'image', label: t('rejects.image'), bare: true, unseen: true, class: 'act' },
].filter(Boolean);

function row(reject, at) {
  const { id, seq, table: of, key, code, message, at_ms, state } = reject;
  const { chosen, images } = at.local;
  const name = t('rejects.name', { table: of, seq: String(seq) });
  const choose = event => {
    if (event.target.checked) chosen.add(id);
    else chosen.delete(id);
    at.redraw();
  };
  const image = images.get(id);
  const unfold = async () => {
    if (image) images.delete(id);
    else images.set(id, { loading: true });
    at.redraw();
    if (image) return;
    images.set(id, await get(`rejects/${encodeURIComponent(id)}`).catch(problem => {
      if (problem instanceof Failure) return { problem };
      throw problem;
    }));
    at.redraw();
  };
  return {
    key: String(id),
    cells: {
      choose: state === 'open' && el('label', { class: 'check' },
        el('input', { type: 'checkbox', 'aria-label': t('rejects.chooseOne', { name }), '.checked': chosen.has(id), onchange: choose })),
      station: stationName({ number: reject.station, name: reject.station_name }),
      row: [bdi(`${of}${key === null ? '' : ` ${key}`}`), key !== null && local(key, reject.station),
        el('small', {}, ` ${op(reject.op)}, ${t('rejects.seq', { seq: String(seq) })}`)],
      why: [el('span', {}, codeWord(code)), ' ', el('small', {}, el('code', {}, code))],
      at: date(at_ms),
      state: el('span', { class: 'badge', 'data-state': `reject-${state}` }, rejectState(state)),
      image: button(t(image ? 'rejects.hide' : 'rejects.show'), unfold, { class: 'small', 'aria-expanded': String(Boolean(image)),
        'aria-label': t(image ? 'rejects.hideOf' : 'rejects.showOf', { name }) }),
    },
    after: image && shown(image, message),
  };
}

/** The values of the rejected row, and what the server said of it. */
function shown(reject, message) {
  if (reject.loading) return el('p', { class: 'quiet' }, t('app.loading'));
  if (reject.problem) return failed(reject.problem);
  const image = reject.image;
  const values = image && typeof image === 'object' && !Array.isArray(image) ? Object.entries(image) : null;
  return el('div', { class: 'image' },
    el('p', {}, el('bdi', { lang: 'en' }, message)),
    values === null ? el('p', {}, image === null || image === undefined ? t('rejects.noImage') : bdi(JSON.stringify(image)))
      : [el('dl', {}, values.filter(([, value]) => value !== null).map(([column, value]) => el('div', {}, el('dt', {}, bdi(column)),
        el('dd', {}, bdi(typeof value === 'string' ? value : JSON.stringify(value)), local(value, reject.station))))),
      values.some(([, value]) => value === null) && el('p', { class: 'quiet' }, t('rejects.empty'), ' ',
        values.filter(([, value]) => value === null).map(([column], at) => [at > 0 && ', ', bdi(column)]))]);
}

/** An id as the station has it: upstream it lies in the block of its number. */
function local(value, station) {
  const id = Number(value) - station * 2 ** 32;
  return Number.isInteger(id) && id > 0 && id < 2 ** 32 && el('small', {}, ` ${t('rejects.local', { id: String(id) })}`);
}

async function act(path, rejects, at, more = {}) {
  const ids = rejects.map(({ id }) => id);
  const results = [];
  for (let from = 0; from < ids.length; from += AT_ONCE_MAX) {
    results.push(...(await post(path, { ids: ids.slice(from, from + AT_ONCE_MAX), ...more })).results);
  }
  const names = new Map(rejects.map(({ id, table: of, seq }) => [id, t('rejects.name', { table: of, seq: String(seq) })]));
  at.local.results = results.map(result => ({ ...result, name: names.get(result.id) }));
  at.local.chosen.clear();
  at.local.count = 0;
  at.say(summary(results));
  await at.reload();
}

/** A row that still does not fit stays a reject: nothing is asked, but whether a date is right that looks wrong. */
function replay(chosen, at) {
  const run = ({ ignore_clock } = {}) => act('rejects/replay', chosen, at, { ignore_clock: ignore_clock === 'on' });
  if (!chosen.some(({ code }) => code === 'clock')) return at.attempt(run);
  return ask({
    title: t('replay.title', { n: chosen.length }), yes: t('replay.yes'), run,
    body: [el('p', {}, t('replay.what')), el('label', { class: 'check' },
      el('input', { type: 'checkbox', name: 'ignore_clock' }), el('span', {}, t('replay.ignoreClock')))],
  });
}

const discard = (chosen, at) => ask({
  title: t('discard.title', { n: chosen.length }), yes: t('discard.yes', { n: chosen.length }), danger: true,
  body: [el('p', {}, t('discard.what')), field('reason', t('discard.reason'), { hint: t('discard.reasonHint'), maxlength: 500 })],
  run: ({ reason }) => act('rejects/discard', chosen, at, { reason: reason.trim() || undefined }),
});

/** What went well comes first. */
const ORDER = ['open', 'rejected', 'unknown', 'settled', 'superseded', 'discarded', 'replayed'];

/** `Replayed: 3, Still rejected: 1`. */
function summary(results) {
  const counts = new Map();
  for (const { outcome: of } of results) counts.set(of, (counts.get(of) ?? 0) + 1);
  return [...counts].sort(([a], [b]) => ORDER.indexOf(b) - ORDER.indexOf(a)).map(([of, n]) => `${outcome(of)}: ${n}`).join(', ');
}

/** What came of the last act, with the reason of each that stayed. */
function results({ results: last }) {
  if (!last) return null;
  const stayed = last.filter(({ code }) => code).slice(0, 10);
  return el('div', { class: 'results' }, el('p', {}, el('strong', {}, summary(last))),
    stayed.length > 0 && el('ul', {}, stayed.map(({ code, message, name }) => el('li', {}, bdi(name), ': ', codeWord(code), message && [' ', el('bdi', { lang: 'en', class: 'quiet' }, message)]))));
}
