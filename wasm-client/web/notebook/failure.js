/** Failures of the database in the words of the page. */
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
