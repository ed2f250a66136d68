/**
 * For an app's own service worker: the page itself opens without a network.
 *
 * ```js
 * // sw.js, registered by the page with navigator.serviceWorker.register('./sw.js', { type: 'module' })
 * import { precache } from './tidemark/service-worker.js';
 * precache({ version: '2026-11-25', files: ['./', 'app.js', 'app.css', 'tidemark/index.js', …] });
 * ```
 *
 * A version is all of its files or nothing: a new one is fetched beside the old one, and takes over when every file is there and the last
 * tab of the old one is closed (or the page asks: `registration.waiting.postMessage('activate')`). Everything that is not in the list,
 * `/v1/` of the server above all, goes to the network untouched.
 */

const PREFIX = 'tidemark-files';

/**
 * Installs the handlers. To be called while the service worker's script runs for the first time, not later.
 *
 * @param {object} options
 * @param {string} options.version names this set of files; another one is another set
 * @param {readonly (string | { url: string, integrity: string })[]} options.files URLs, relative to the service worker's script; with
 *   `integrity` (as in `<script integrity>`) a file of another version is not taken for this one's
 * @param {string} [options.page='./'] the file of the list that answers navigations within the scope to pages that are not in it; they are
 *   tried on the network first
 * @param {any} [scope] the service worker's global scope; tests give another one
 */
export function precache({ version, files, page = './' }, scope = self) {
  const prefix = `${PREFIX} ${scope.registration.scope} `;
  const name = prefix + version;
  /** @param {string} url */
  const absolute = (url) => new URL(url, scope.location.href).href;
  const requests = files.map((file) => (typeof file === 'string' ? { url: absolute(file) } : { ...file, url: absolute(file.url) }));
  const known = new Set(requests.map(({ url }) => url));
  const pageUrl = absolute(page);
  if (!known.has(pageUrl)) throw new Error(`precache: the page ${page} is not in the list of files`);

  scope.addEventListener('install', (/** @type {any} */ event) => event.waitUntil(install()));
  scope.addEventListener('activate', (/** @type {any} */ event) => event.waitUntil(activate()));
  scope.addEventListener('message', (/** @type {any} */ event) => {
    if (event.data === 'activate') event.waitUntil?.(scope.skipWaiting());
  });
  scope.addEventListener('fetch', (/** @type {any} */ event) => {
    const answer = answerTo(event.request);
    if (answer) event.respondWith(answer);
  });

  /** All files, or an error: the browser tries again later, and the version before goes on. */
  async function install() {
    const isNew = !(await scope.caches.has(name));
    const cache = await scope.caches.open(name);
    try {
      // Each body is read at once: one that is not keeps its place among the browser's connections, and there are few.
      await Promise.all(requests.map(async (request) => cache.put(request.url, await fetchFile(request))));
    } catch (error) {
      // The version that is running may have the same name.
      if (isNew) await scope.caches.delete(name);
      throw error;
    }
  }

  /** @param {{ url: string, integrity?: string }} file */
  async function fetchFile({ url, integrity }) {
    // Asked of the server even when the HTTP cache holds it: that one may be of the version before.
    const response = await scope.fetch(url, { cache: 'no-cache', credentials: 'same-origin', ...(integrity && { integrity }) });
    if (!response.ok) throw new Error(`precache: ${url} answered ${response.status}`);
    // A navigation may not be answered by a response that was redirected.
    return response.redirected ? new Response(await response.blob(), { headers: response.headers }) : response;
  }

  /** The versions before are not needed any more. */
  async function activate() {
    const old = (await scope.caches.keys()).filter((/** @type {string} */ key) => key.startsWith(prefix) && key !== name);
    await Promise.all(old.map((/** @type {string} */ key) => scope.caches.delete(key)));
    await scope.clients.claim();
  }

  /**
   * @param {Request} request
   * @returns {Promise<Response> | undefined} undefined: not ours
   */
  function answerTo(request) {
    if (request.method !== 'GET') return undefined;
    const url = new URL(request.url);
    url.hash = '';
    const navigation = request.mode === 'navigate';
    // A page's own search parameters make no other file of it.
    if (navigation) url.search = '';
    if (known.has(url.href)) return cached(url.href, request);
    if (navigation && url.href.startsWith(scope.registration.scope)) {
      return scope.fetch(request).catch((/** @type {unknown} */ error) => cached(pageUrl, undefined, error));
    }
    return undefined;
  }

  /**
   * @param {string} url
   * @param {Request} [request] what to ask the network for when the browser has dropped the file
   * @param {unknown} [otherwise] thrown when it has, and there is nothing to ask
   */
  async function cached(url, request, otherwise) {
    const cache = await scope.caches.open(name);
    const response = await cache.match(url, { ignoreVary: true });
    if (response) return response;
    if (request) return scope.fetch(request);
    throw otherwise;
  }
}
