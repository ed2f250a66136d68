/**
 * "Is it safe to leave?": the status of the database as one answer. Pure; words are keys of the translations.
 *
 * @typedef {[key: string, params?: Record<string, unknown>]} Words
 * @typedef {object} Answer
 * @property {'safe' | 'wait' | 'danger' | 'unknown'} level
 * @property {string} icon
 * @property {Words} headline
 * @property {Words[]} details The most telling first.
 */

/**
 * @param {import('./tidemark/index.js').Status | null} status null while the database opens.
 * @returns {Answer}
 */
export function lightOf(status) {
  if (status === null) return { level: 'unknown', icon: 'hourglass', headline: ['light.opening'], details: [] };
  const { pending, rejects, storage, sync } = status;
  const stop = sync.state === 'stopped' ? sync.stop : null;
  const joined = status.station !== null && stop?.kind !== 'not-joined';
  const details = [];
  if (pending > 0 && status.oldestPendingAt !== null) details.push(['light.since', { since: new Date(status.oldestPendingAt) }]);
  const only = ['light.pending', { n: pending }];

  if (storage.risk === 'memory') return danger('memory', ['light.memory'], pending > 0 ? [only, ...details] : []);
  if (joined && stop) return danger('refused', [`stop.${stop.kind}`], pending > 0 ? [only, ...details] : []);
  if (storage.risk === 'nearly-full') return danger('disk', ['light.nearlyFull'], pending > 0 ? [only, ...details] : []);
  if (rejects > 0) return wait('wrench', ['light.rejects', { n: rejects }], pending > 0 ? [only, ...details] : []);
  if (storage.risk === 'evictable' && pending > 0) details.push(['light.evictable']);
  if (!joined) return wait('unlinked', pending > 0 ? only : ['light.notJoined'], pending > 0 ? [['light.notJoined'], ...details] : [['light.notJoinedHint']]);
  if (pending > 0) return wait('device', only, [...sending(sync), ...details]);
  if (status.safeToLeave) return { level: 'safe', icon: 'check', headline: ['light.safe'], details: [['light.safeDetail']] };
  return wait('hourglass', ['light.asking'], sending(sync));
}

const danger = (icon, headline, details) => ({ level: 'danger', icon, headline, details });
const wait = (icon, headline, details) => ({ level: 'wait', icon, headline, details });

/** What the sending of changes is at. */
export function sending(sync) {
  switch (sync.state) {
    case 'sending': return [['light.sending']];
    case 'waiting': return [
      // First what a person fears: that waiting costs something.
      [sync.lastError?.kind === 'answer' ? 'light.busy' : 'light.offline'],
      ...(sync.retryAt === null ? [] : [['light.retry', { at: new Date(sync.retryAt) }]]),
    ];
    case 'off': return [['light.off']];
    default: return [];
  }
}
