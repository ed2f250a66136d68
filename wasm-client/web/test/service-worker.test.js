import assert from 'node:assert/strict';
import { test } from 'node:test';
import { precache } from '../src/service-worker.js';

const BASE = 'https://field.example/app/';

/** Responses whose bodies nobody has read; a browser waits when there are so many. */
const UNREAD_MAX = 3;

/** A service worker's scope, with a server that can be changed or be away. */
function world(files) {
  const listeners = {};
  const stores = new Map();
  let unread = 0;
  const waiting = [];
  const scope = {
    location: { href: `${BASE}sw.js` },
    registration: { scope: BASE },
    server: new Map(Object.entries(files).map(([path, text]) => [new URL(path, BASE).href, text])),
    asked: [],
    skipped: 0,
    addEventListener: (name, fn) => { listeners[name] = fn; },
    fetch: async (request, options) => {
      const url = typeof request === 'string' ? request : request.url;
      scope.asked.push({ url, ...options });
      if (!scope.server) throw new TypeError('Failed to fetch');
      while (unread >= UNREAD_MAX) await new Promise((resume) => { waiting.push(resume); });
      const text = scope.server.get(url);
      if (text === undefined) return new Response('', { status: 404 });
      unread += 1;
      return new Response(text);
    },
    caches: {
      keys: async () => [...stores.keys()],
      has: async (name) => stores.has(name),
      delete: async (name) => stores.delete(name),
      open: async (name) => {
        if (!stores.has(name)) stores.set(name, new Map());
        const store = stores.get(name);
        return { put: async (url, response) => {
          store.set(url, await response.text());
          unread -= 1;
          waiting.splice(0).forEach((resume) => resume());
        },
          match: async (url) => (store.has(url) ? new Response(store.get(url)) : undefined) };
      },
    },
    clients: { claim: async () => {} },
    skipWaiting: async () => { scope.skipped += 1; },
    /** Sends an event and waits for what it waits for. */
    send: async (name, event = {}) => {
      const waits = [];
      listeners[name]({ ...event, waitUntil: (promise) => waits.push(promise), respondWith: (promise) => waits.push(promise) });
      return (await Promise.all(waits))[0];
    },
    get: async (path, more = {}) => {
      const response = await scope.send('fetch', { request: { method: 'GET', mode: 'cors', url: new URL(path, BASE).href, ...more } });
      return response?.text();
    },
  };
  return scope;
}

const FILES = { './': 'page', 'app.js': 'code' };
const list = Object.keys(FILES);

test('what was installed opens without a network, with any search and hash', async () => {
  const scope = world(FILES);
  precache({ version: '1', files: list }, scope);
  await scope.send('install');
  assert.deepEqual(scope.asked.map(({ cache }) => cache), ['no-cache', 'no-cache']);
  scope.server = null;
  assert.equal(await scope.get('./', { mode: 'navigate' }), 'page');
  assert.equal(await scope.get('./?day=3#top', { mode: 'navigate' }), 'page');
  assert.equal(await scope.get('a/deep/link', { mode: 'navigate' }), 'page');
  assert.equal(await scope.get('app.js'), 'code');
});

test('any number of files is installed', { timeout: 5_000 }, async () => {
  const many = Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`${n}.js`, `${n}`]));
  const scope = world({ ...FILES, ...many });
  precache({ version: '1', files: [...list, ...Object.keys(many)] }, scope);
  await scope.send('install');
  scope.server = null;
  assert.equal(await scope.get('49.js'), '49');
});

test('what is not in the list is left to the network, and so is everything but GET', async () => {
  const scope = world(FILES);
  precache({ version: '1', files: list }, scope);
  await scope.send('install');
  assert.equal(await scope.get('/v1/station'), undefined);
  assert.equal(await scope.get('app.js?other'), undefined);
  assert.equal(await scope.get('app.js', { method: 'POST' }), undefined);
});

test('a version with a file missing is not installed, and the one before is untouched', async () => {
  const scope = world(FILES);
  precache({ version: '1', files: list }, scope);
  await scope.send('install');
  scope.server.set(new URL('app.js', BASE).href, 'new code');
  precache({ version: '2', files: [...list, 'missing.js'] }, scope);
  await assert.rejects(scope.send('install'), /missing\.js answered 404/);
  assert.deepEqual(await scope.caches.keys(), [`tidemark-files ${BASE} 1`]);
});

test('a new version answers from its own files, and removes the old one when it is activated', async () => {
  const scope = world(FILES);
  precache({ version: '1', files: list }, scope);
  await scope.send('install');
  scope.server.set(new URL('app.js', BASE).href, 'new code');
  precache({ version: '2', files: list }, scope);
  await scope.send('install');
  await scope.caches.open('somebody else\'s');
  await scope.send('activate');
  assert.deepEqual(await scope.caches.keys(), [`tidemark-files ${BASE} 2`, 'somebody else\'s']);
  assert.equal(await scope.get('app.js'), 'new code');
});

test('a file that the browser dropped comes from the network', async () => {
  const scope = world(FILES);
  precache({ version: '1', files: list }, scope);
  await scope.send('install');
  await scope.caches.delete(`tidemark-files ${BASE} 1`);
  assert.equal(await scope.get('app.js'), 'code');
});

test('the page asks for the new version at once', async () => {
  const scope = world(FILES);
  precache({ version: '1', files: list }, scope);
  await scope.send('message', { data: 'hello' });
  assert.equal(scope.skipped, 0);
  await scope.send('message', { data: 'activate' });
  assert.equal(scope.skipped, 1);
});

test('a page that is not in the list is an error at once', () => {
  assert.throws(() => precache({ version: '1', files: ['app.js'] }, world(FILES)), /\.\/ is not in the list/);
});
