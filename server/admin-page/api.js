/** What the page asks of the server, and how it fails, as facts: the words are made where they are shown (`words.js`). */

import { heardNow } from './format.js';

/** Relative to the page, which lies in `admin/`: a proxy may serve all of it below a path of its own. */
const BASE = new URL('../v1/admin/', document.baseURI);
/** Longer than the server takes for one request. */
const PATIENCE_MS = 40_000;

/** No answer, or one that is a refusal. `code`: `offline`, `timeout`, or the problem's own; `detail`: its words, English. */
export class Failure extends Error {
  constructor(code, { status = 0, reason = null, detail = null } = {}) {
    super(detail ?? code);
    Object.assign(this, { code, status, reason, detail });
  }
}

/** Times are told by the server's clock, also where the browser's is wrong. */
function heard(answer) {
  if (typeof answer?.now_ms === 'number') heardNow(answer.now_ms);
  return answer;
}

async function once(method, path, body) {
  let response;
  try {
    response = await fetch(new URL(path, BASE), {
      method,
      credentials: 'same-origin',
      cache: 'no-store',
      redirect: 'error',
      // A form of another page cannot send this header: it tells the server that it is this page that asks.
      headers: { 'tidemark-admin': '1', ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (response.ok) return response.status === 204 ? null : heard(await response.json());
  } catch (error) {
    throw new Failure(error?.name === 'TimeoutError' ? 'timeout' : 'offline');
  }
  const problem = await response.json().catch(() => null);
  // What stands between, a proxy for example, answers in its own way.
  if (typeof problem?.code !== 'string') throw new Failure('foreign', { status: response.status });
  const { code, reason = null, detail = null } = problem;
  throw new Failure(code, { status: response.status, reason, detail });
}

/** Called when the session has ended, resolves when there is one again. */
let renew = () => Promise.reject(new Failure('unauthorized', { status: 401 }));
export const onEnded = fn => {
  renew = fn;
};

/** Asks; when the session has ended, asks again once somebody has signed in. */
async function call(method, path, body) {
  try {
    return await once(method, path, body);
  } catch (failure) {
    if (failure.status !== 401) throw failure;
    await renew();
    return once(method, path, body);
  }
}

export const get = path => call('GET', path);
export const post = (path, body = {}) => call('POST', path, body);

/** The session: who it belongs to (null: nobody), its beginning and its end. */
export const session = {
  who: () => once('GET', 'session').then(({ operator }) => operator, failure => {
    if (failure.status === 401) return null;
    throw failure;
  }),
  begin: token => once('POST', 'session', { token }),
  end: () => once('DELETE', 'session'),
};

/** `path?a=1&b=2` of what is set. */
export function query(path, parameters) {
  const set = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== '');
  return set.length === 0 ? path : `${path}?${new URLSearchParams(set.map(([name, value]) => [name, String(value)]))}`;
}
