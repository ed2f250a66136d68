/** Failures of the database in the words of the page. */
import { el } from './dom.js';
import { t } from './i18n/index.js';

const KNOWN = new Set([
  'no-storage', 'full', 'corrupt', 'newer', 'schema', 'sql', 'constraint', 'argument', 'rolled-back', 'closed', 'join', 'unreachable',
  'not-joined', 'load', 'bug',
]);

/** What happened and what to do; the words of the package, which are English, beside it for whoever helps. */
export function describe(error) {
  const code = KNOWN.has(error?.code) ? error.code : 'bug';
  return { text: t(`failure.${code}`), detail: error?.message ?? String(error) };
}

/** Writes it all into `node`, after what the page has to say first. */
export function tellFailure(node, error, first = '') {
  const { text, detail } = describe(error);
  node.replaceChildren(`${first} ${text}`.trim(), ' ', el('small', { lang: 'en' }, detail));
}
