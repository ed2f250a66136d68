/**
 * The addresses beside the notebook's own that lead to it: `…/notebook` without its last stroke, and the server's own, `…/`. The server sends a
 * browser on from there; without a network this service worker does. It keeps no files, and everything else in its scope goes to the network
 * untouched.
 */

/** A network that is there and says nothing is none. */
const PATIENCE_MS = 4_000;

const page = new URL('./', self.location.href).href;
const doors = new Set([page.slice(0, -1), new URL('../', page).href]);

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('fetch', event => {
  const { origin, pathname, search } = new URL(event.request.url);
  if (event.request.mode === 'navigate' && doors.has(origin + pathname)) event.respondWith(through(event.request, search));
});

/** What the server says of it, or the way to the page. What follows `#` the browser keeps. */
function through(request, search) {
  const inside = () => Response.redirect(page + search, 307);
  return Promise.race([
    fetch(request).catch(inside),
    new Promise(resolve => { setTimeout(() => resolve(inside()), PATIENCE_MS); }),
  ]);
}
