/** Facts as sentences: failures, codes, outcomes and acts. The server's own words, which are English, are put below. */
import { el } from './dom.js';
import { knows, t } from './i18n/index.js';

/** What happened and what to do about it. */
export function failure({ code, reason, status }) {
  if (code === 'unavailable' && reason && knows(`reason.${reason}`)) return t(`reason.${reason}`);
  if (code === 'foreign') return t('problem.foreign', { status: String(status) });
  return knows(`problem.${code}`) ? t(`problem.${code}`) : t('problem.other', { code });
}

/** Whose words leave nothing open: of others the server's own are kept for whoever wants to know more. */
const TOLD = new Set(['offline', 'timeout', 'unauthorized', 'foreign', 'unavailable']);

export function failed(problem) {
  const detail = TOLD.has(problem.code) ? null : problem.detail;
  return el('div', { class: 'failed', role: 'alert' },
    el('p', {}, failure(problem)),
    detail && el('details', {}, el('summary', {}, t('problem.details')), el('bdi', { lang: 'en' }, detail)));
}

/** Why a change was rejected. */
export const code = name => (knows(`code.${name}`) ? t(`code.${name}`) : t('code.other'));

/** Every code that a reject may have. */
export const CODES = [
  'append-only', 'clock', 'constraint', 'id-range', 'json', 'length', 'nul', 'owner', 'parent', 'range', 'reference', 'referenced',
  'required', 'timestamp', 'too-large', 'type', 'unknown-table', 'utf8', 'uuid',
];

export const state = name => (knows(`state.${name}`) ? t(`state.${name}`) : name);
export const rejectState = name => (knows(`reject.${name}`) ? t(`reject.${name}`) : name);
export const op = name => (knows(`op.${name}`) ? t(`op.${name}`) : name);
export const act = name => (knows(`act.${name}`) ? t(`act.${name}`) : name);
export const outcome = name => (knows(`outcome.${name}`) ? t(`outcome.${name}`) : name);
