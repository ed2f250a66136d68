// Keeps what was fetched and serves it when nothing answers: the least that makes a page open offline.
self.addEventListener('install', (event) => event.waitUntil(self.skipWaiting()));
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
self.addEventListener('fetch', (event) => {
  if (event.request.method !== 'GET' || new URL(event.request.url).origin !== self.location.origin) return;
  event.respondWith((async () => {
    const kept = await caches.open('page');
    try {
      const answer = await fetch(event.request);
      await kept.put(event.request, answer.clone());
      return answer;
    } catch (error) {
      const copy = await kept.match(event.request);
      if (copy) return copy;
      throw error;
    }
  })());
});
