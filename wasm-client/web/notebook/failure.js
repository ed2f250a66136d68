/** Failures of the database in the words of the page. */
import { el } from './dom.js';
import { t } from './i18n/index.js';

const KNOWN = new Set([
  'no-storage', 'full', 'corrupt', 'newer', 'schema', 'sql', 'constraint', 'argument', 'rolled-back', 'closed', 'join', 'unreachable',
  'not-joined', 'load', 'busy', 'bug',
]);

/** Whose words say all there is to say; what the package says of the others, in English, is kept for whoever helps. */
const TOLD = new Set(['full', 'rolled-back', 'closed', 'unreachable', 'not-joined', 'newer']);

/** What happened and what to do; `detail`: the words of the package, which are English, where the page's own leave something open. */
export function describe(error) {
  const code = KNOWN.has(error?.code) ? error.code : 'bug';
  if (code === 'join' && error.reason) return { text: t(`join.not.${error.reason}`), detail: null };
  return { text: t(`failure.${code}`), detail: TOLD.has(code) ? null : error?.message ?? String(error) };
}

/** Writes it into `node`, after what the page has to say first. */
export function tellFailure(node, error, first = '') {
  const { text, detail } = describe(error);
  node.replaceChildren(`${first} ${text}`.trim(), detail === null ? '' : forTheOffice(detail));
}

/** The words of a program, which are English: put away until somebody asks for them. */
export const forTheOffice = detail => el('details', {}, el('summary', {}, t('failure.details')), el('span', { lang: 'en' }, detail));
