/** One HTTP exchange, as the engine asks for it: no redirects, no cookies, no cache, an end in time and a bounded reply. */

/** Most bytes of a reply (`MESSAGE_BYTES_MAX` of the protocol). */
const REPLY_BYTES_MAX = 16 << 20;
/** A body of at most so many bytes costs a server as little as a question. */
const SMALL_BODY_BYTES = 1 << 10;
/** Any redirect: the browser does not tell which one it was. */
const REDIRECTED = 302;

/**
 * @typedef {import('./protocol.js').Request} Request
 * @typedef {{ status: number, retryAfter: string | undefined, body: Uint8Array }} Reply
 * @typedef {{ kind: FailedHow, message: string }} NoReply
 * @typedef {'unreached' | 'timeout' | 'broken'} FailedHow
 *   A browser does not say whether there was a connection. Where little more than a head was to be sent, it cost the server as good as nothing, and
 *   it is asked again as soon as if there had been none.
 */

/**
 * No headers beyond these two: a server or a proxy of another version need not allow a page any other, and a browser then sends nothing at all.
 * @param {Request} request
 * @returns {RequestInit}
 */
export function fetchOptions({ method, token, contentType, body }) {
  /** @type {Record<string, string>} */
  const headers = {};
  if (token !== undefined) headers.authorization = `Bearer ${token}`;
  if (contentType !== undefined) headers['content-type'] = contentType;
  return {
    method,
    headers,
    body: method === 'GET' ? undefined : /** @type {Uint8Array<ArrayBuffer>} */ (body),
    redirect: 'manual',
    credentials: 'omit',
    cache: 'no-store',
    referrerPolicy: 'no-referrer',
  };
}

/**
 * Performs a request. Never rejects.
 * @param {Request} request
 * @param {AbortSignal} ended the worker has no more use for the answer
 * @param {{ fetch?: typeof fetch, setTimeout?: typeof setTimeout, clearTimeout?: typeof clearTimeout }} [world]
 * @returns {Promise<{ reply: Reply } | { failure: NoReply }>}
 */
export async function exchange(request, ended, world = {}) {
  const { fetch = globalThis.fetch, setTimeout = globalThis.setTimeout, clearTimeout = globalThis.clearTimeout } = world;
  const abort = new AbortController();
  const giveUp = () => abort.abort();
  let timeout = false;
  const timer = setTimeout(() => { timeout = true; giveUp(); }, request.timeoutMs);
  ended.addEventListener('abort', giveUp);
  try {
    if (ended.aborted) giveUp();
    const response = await fetch(request.url, { ...fetchOptions(request), signal: abort.signal });
    if (response.type === 'opaqueredirect') return { reply: { status: REDIRECTED, retryAfter: undefined, body: new Uint8Array() } };
    const body = await readBounded(response);
    if (!body) {
      giveUp();
      return { failure: { kind: 'broken', message: `the reply of ${originOf(request.url)} has more than ${REPLY_BYTES_MAX} bytes` } };
    }
    return { reply: { status: response.status, retryAfter: response.headers.get('retry-after') ?? undefined, body } };
  } catch (error) {
    const kind = timeout ? 'timeout' : request.method === 'GET' || request.body.length <= SMALL_BODY_BYTES ? 'unreached' : 'broken';
    return { failure: { kind, message: wordsFor(request.url, timeout, error) } };
  } finally {
    clearTimeout(timer);
    ended.removeEventListener('abort', giveUp);
  }
}

/**
 * @param {Response} response
 * @returns {Promise<Uint8Array | undefined>} undefined: it was too much
 */
async function readBounded(response) {
  /** @type {Uint8Array[]} */
  const parts = [];
  let length = 0;
  const reader = response.body?.getReader();
  while (reader) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > REPLY_BYTES_MAX) return undefined;
    parts.push(value);
  }
  const body = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    body.set(part, at);
    at += part.length;
  }
  return body;
}

/** @param {string} url */
function originOf(url) {
  try {
    return new URL(url).origin;
  } catch {
    return url;
  }
}

/**
 * Browsers do not tell a page why a request failed, so the likely reasons are named.
 * @param {string} url
 * @param {boolean} timeout
 * @param {unknown} error
 */
function wordsFor(url, timeout, error) {
  const server = originOf(url);
  if (timeout) return `the server at ${server} did not answer in time`;
  const words = `cannot reach the server at ${server}: ${error instanceof Error ? error.message : error}`;
  const here = globalThis.location?.origin;
  if (!here || server === here) return words;
  if (here.startsWith('https:') && server.startsWith('http:')) return `${words}. A page loaded by https cannot reach a server by http`;
  return `${words}. If the network is up, the server may not allow pages of ${here}: its operator allows them with --allow-origin ${here}`;
}
