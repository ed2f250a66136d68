/**
 * What pages and workers say to each other, and under which names. A page and its own worker use the worker's port; everybody else uses
 * channels of the origin.
 *
 * ```text
 * channel NAME          owner → all    opening, hello, bye, change, status        page → owner   who, hint
 * channel NAME:owner    page → owner   calls, nudge
 * channel NAME:tab:ID   owner → page   answers, unknown
 * lock    NAME          held by the owner's worker; every other worker waits for it
 * lock    NAME:tab:ID   held by a page while it lives
 * ```
 *
 * A page numbers its calls from 1 and says them again to a new owner until they are answered; the owner keeps the answer to a write in
 * the transaction of the write, so a repeated call is answered and not done twice.
 */

/** Tabs of versions that do not understand each other must notice: raised with every change of the messages. */
export const PROTOCOL = 1;

/** Calls of one tab that are on their way at once; more of them wait in the page. */
export const CALLS_AT_ONCE = 128;

/** The most an owner keeps of one tab; a page of ours never sends so many. */
export const CALLS_KEPT = 4 * CALLS_AT_ONCE;

/** Rows of a result or of an `execMany` in one message: a page takes or makes them in a few milliseconds. */
export const ROWS_AT_ONCE = 1_000;

/** @param {string} name */
export const namesOf = (name) => ({
  lock: `tidemark:${name}`,
  channel: `tidemark:${name}`,
  ownerChannel: `tidemark:${name}:owner`,
  /** @param {string} tab */
  tabLock: (tab) => `tidemark:${name}:tab:${tab}`,
  /** @param {string} tab */
  tabChannel: (tab) => `tidemark:${name}:tab:${tab}`,
});

/**
 * @typedef {import('./index.js').ErrorCode} ErrorCode
 * @typedef {{ code: ErrorCode, message: string, reason?: import('./index.js').JoinReason | null }} Failure what a `TidemarkError` is made from
 *
 * @typedef {object} Call
 * @property {number} n its number in its tab
 * @property {string} what which of the owner's calls
 * @property {any[]} args
 * @property {number} [tx] the transaction it belongs to: the number of the call that began it
 *
 * @typedef {object} Calls
 * @property {'calls'} t
 * @property {string} tab
 * @property {number} doneUpTo every call of the tab up to this one has been answered
 * @property {Call[]} calls
 *
 * @typedef {{ t: 'nudge', tab: string, calls: number[] }} Nudge calls a tab has waited for: are they known?
 * @typedef {{ t: 'unknown', epoch: string, calls: number[] }} Unknown they are not: say them again
 *
 * @typedef {{ n: number, ok: any } | { n: number, error: Failure } | { n: number, columns: string[], rows: any[][] }} Answer
 *   `rows`: part of a result, more follows
 * @typedef {{ t: 'answers', epoch: string, answers: Answer[] }} Answers
 *
 * @typedef {{ t: 'hello', epoch: string, tables: string[] }} Hello an owner is there
 * @typedef {{ t: 'bye', epoch: string }} Bye
 * @typedef {{ t: 'change', epoch: string, tables: string[] }} Changed
 * @typedef {{ t: 'status', epoch: string, status: Omit<import('./index.js').Status, 'role'> }} StatusMessage
 * @typedef {{ t: 'who' }} Who
 * @typedef {{ t: 'hint', what: 'visible' | 'hidden' | 'online' | 'offline' | 'storage' }} Hint
 *
 * @typedef {object} Start a page to its new worker
 * @property {'start'} t
 * @property {string} name
 * @property {string} [schema]
 * @property {string} [server]
 * @property {boolean} memory keep everything in memory where there is no lasting storage
 * @property {boolean} manual
 * @property {string} [wasm]
 * @property {boolean} solo there are no locks here: own the database without asking
 * @property {string} channel name of the database on channels and locks
 *
 * @typedef {object} Request one HTTP exchange
 * @property {number} id
 * @property {'GET' | 'POST'} method
 * @property {string} url
 * @property {string} [token]
 * @property {string} [contentType]
 * @property {Uint8Array} body
 * @property {number} timeoutMs
 *
 * @typedef {{ t: 'farewell', request: Request | null }} Farewell worker to its page: what to send when the page goes away
 * @typedef {{ t: 'loaded' } | { t: 'opening', epoch: string } | { t: 'failed', error: Failure } | { t: 'died', error: Failure } | { t: 'closed' }} Life of a worker
 */

/**
 * Marks a message as ours.
 * @template {object} T
 * @param {T} message
 */
export const sealed = (message) => ({ ...message, tidemark: PROTOCOL });

/**
 * Whether a message on a channel is ours; others are ignored.
 * @param {any} data
 */
export const isOurs = (data) => typeof data === 'object' && data !== null && data.tidemark === PROTOCOL && typeof data.t === 'string';

/**
 * Whether it is of another version of this package.
 * @param {any} data
 */
export const isForeign = (data) => typeof data === 'object' && data !== null && typeof data.tidemark === 'number' && data.tidemark !== PROTOCOL;

/** A random name. `crypto.randomUUID` is there only in secure contexts. */
export const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
