/** One station: how it is, what it sent, what was rejected, what was done, and what can be done. */
import { get, post } from '../api.js';
import { CLOCK_OFF_MS, LOW_DISK_BYTES, OLDEST_PENDING_MS } from '../concern.js';
import { as, ask, field } from '../dialog.js';
import { bdi, el } from '../dom.js';
import { bytes, date, duration, NONE, now_ms, number, offset } from '../format.js';
import { parts, t } from '../i18n/index.js';
import { badge, button, empty, facts, table, title } from '../parts.js';
import { href } from '../place.js';
import { acts } from './audit.js';
import { invitation, urlField } from './invite.js';
import { rejectList } from './reject-list.js';

export const station = {
  title: (data, { parts: [, of] }) => data?.station.name || t('station.title', { number: of }),

  load: ({ parts: [, of] }) => get(`stations/${encodeURIComponent(of)}`),

  draw(data, at) {
    const { station: one, pushes, rejects } = data;
    return [
      el('p', { class: 'back' }, el('a', { href: href(['stations']) }, t('station.back'))),
      el('div', { class: 'head' }, title(bdi(one.name || t('station.unnamed')), one.number !== null && el('small', {}, ` ${t('station.number', { number: String(one.number) })}`)), badge(one.state)),
      one.state === 'silent' && el('p', { class: 'card lamp', 'data-level': 'danger' }, one.last_contact_ms === null ? t('silent.never')
        : t('station.silent', { duration: duration(now_ms() - one.last_contact_ms) })),
      one.state === 'forked' && el('p', { class: 'card lamp', 'data-level': 'danger' }, t('station.forked')),
      one.token_ended && one.state !== 'revoked' && el('p', { class: 'card lamp', 'data-level': 'wait' }, t('station.ended')),
      section('station.facts', about(one), actions(one, at)),
      section('station.rejects', rejectList(rejects, at, { station: false, none: t('rejects.noneOf') }),
        rejects.length >= 50 && el('p', {}, el('a', { href: href(['rejects'], { station: one.number, state: 'all' }) }, t('rejects.allOf')))),
      section('station.pushes', pushes.length === 0 ? empty(t('station.noPush')) : table(PUSHES(), pushes.map(push), { label: t('station.pushes'), className: 'pushes' })),
      section('station.acts', acts(data.audit, { station: false })),
    ];
  },
};

const section = (key, ...content) => el('section', { class: 'card', 'aria-labelledby': `${key}-title` }, el('h2', { id: `${key}-title` }, t(key)), content);

const about = one => facts([
  [t('column.contact'), date(one.last_contact_ms, t('time.never'))],
  [t('column.push'), date(one.last_push_ms, t('time.never'))],
  [t('column.pending'), reported(one, one.pending, number)],
  [t('column.oldest'), one.pending === 0 ? null : marked(now_ms() - one.oldest_ms > OLDEST_PENDING_MS, reported(one, one.oldest_ms, date))],
  [t('column.tidemark'), number(one.tidemark)],
  [t('column.clock'), marked(Math.abs(one.clock_offset_ms) > CLOCK_OFF_MS, reported(one, one.clock_offset_ms, offset))],
  [t('column.disk'), marked(one.free_disk_bytes < LOW_DISK_BYTES, reported(one, one.free_disk_bytes, bytes))],
  [t('column.rejects'), one.rejects_open === 0 ? null : marked(true, number(one.rejects_open))],
  [t('column.schema'), reported(one, one.schema_version, number)],
  [t('column.client'), reported(one, one.client_version, bdi)],
  [t('station.reported'), date(one.reported_at_ms, t('station.notReported'))],
  [t('station.joined'), one.joined_at_ms === null ? null : date(one.joined_at_ms)],
  [t('station.revoked'), one.revoked_at_ms === null ? null : date(one.revoked_at_ms)],
  [t('station.code'), one.code_expires_at_ms === null ? null : date(one.code_expires_at_ms)],
]);

/** As the list of stations marks it. What is not known is no concern. */
const marked = (bad, content) => (bad && content !== NONE ? el('span', { class: 'bad' }, content) : content);

const reported = (one, value, words) => (value === null || value === undefined ? NONE : words(value));

const PUSHES = () => [
  { key: 'at', label: t('push.at'), row: true }, { key: 'range', label: t('push.range'), class: 'number' },
  { key: 'applied', label: t('push.applied'), class: 'number' }, { key: 'rejected', label: t('push.rejected'), class: 'number' },
  { key: 'bytes', label: t('push.bytes'), class: 'number' }, { key: 'ms', label: t('push.ms'), class: 'number' },
];

const push = ({ at_ms, first, last, applied, rejected, bytes: size, ms }) => ({
  key: `${at_ms}-${first}`,
  cells: {
    at: date(at_ms), range: first === last ? number(first) : `${number(first)}–${number(last)}`, applied: number(applied),
    rejected: { content: number(rejected), class: rejected > 0 ? 'bad' : '' }, bytes: bytes(size), ms: ms === null ? NONE : duration(ms),
  },
});

function actions(one, at) {
  return el('div', { class: 'actions' },
    button(t('rename.button'), () => rename(one, at), { id: 'rename' }),
    button(t(one.state === 'revoked' ? 'rotate.again' : 'rotate.button'), () => rotate(one, at), { id: 'rotate' }),
    one.state !== 'revoked' && button(t('revoke.button'), () => revoke(one, at), { class: 'danger', id: 'revoke' }));
}

/** A station that has not joined has a name alone. */
const act = ({ number: of, name }, what) => `stations/${encodeURIComponent(of ?? name)}/${what}`;

async function rename(one, at) {
  const done = await ask({
    title: t('rename.title'), yes: t('rename.yes'), focus: 'name',
    body: [field('name', t('invite.name'), { hint: t('rename.hint'), maxlength: 200, value: one.name })],
    run: async ({ name }) => void (await post(act(one, 'rename'), { name: name.trim() })
      .catch(as({ conflict: 'name-taken', 'bad-request': 'bad-invitation' }))),
  });
  if (!done) return;
  // Without a number its address has its name.
  if (one.number === null) at.go(['stations']);
  finish(at, t('rename.done'));
}

async function rotate(one, at) {
  const done = await ask({
    title: t('rotate.title'), yes: t('rotate.yes'), danger: one.state !== 'revoked',
    body: [el('p', {}, parts(one.state === 'revoked' ? 'rotate.whatRevoked' : 'rotate.what', { name: bdi(one.name) })), urlField()],
    run: async ({ url }) => invitation(await post(act(one, 'rotate'), { url: url.trim() || undefined })
      .catch(as({ conflict: 'replaced', 'bad-request': 'bad-invitation' }))),
  });
  if (done) finish(at, t('rotate.done'));
}

async function revoke(one, at) {
  const done = await ask({
    title: t('revoke.title'), yes: t('revoke.yes'), danger: true,
    body: [
      el('p', {}, parts('revoke.what', { name: bdi(one.name) })),
      el('ul', {}, el('li', {}, t('revoke.token')),
        el('li', {}, one.pending > 0 ? t('revoke.pending', { n: one.pending }) : t('revoke.unsent')),
        el('li', {}, t('revoke.rows')), el('li', {}, t('revoke.back'))),
    ],
    run: async () => void (await post(act(one, 'revoke'))),
  });
  if (done) finish(at, t('revoke.done'));
}

function finish(at, words) {
  at.say(words);
  at.reload();
}
