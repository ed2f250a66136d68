/** The service worker: keeps the page itself on the device, and brings a new version in when the person says so. */
import { t } from './i18n/index.js';
import { toast } from './views/toast.js';

const UPDATE_EVERY_MS = 3_600_000;

/** The addresses that lead here do so without a network, too (door.js), unless they are somebody else's page. */
async function openDoors() {
  const scope = new URL('../', location.href).href;
  const there = await navigator.serviceWorker.getRegistration(scope);
  const script = (there?.active ?? there?.waiting ?? there?.installing)?.scriptURL;
  if (there?.scope === scope && script !== new URL('door.js', location.href).href) return;
  await navigator.serviceWorker.register('door.js', { scope });
}

export async function keepPage() {
  if (!('serviceWorker' in navigator)) return;
  const controlled = navigator.serviceWorker.controller !== null;
  const registration = await navigator.serviceWorker.register('sw.js', { type: 'module' });
  openDoors().catch(error => console.warn('Only its own address opens the page without a network:', error));

  const offer = worker => toast(t('update.ready'), { action: t('update.reload'), stay: true, act: () => worker.postMessage('activate') });
  if (registration.waiting && controlled) offer(registration.waiting);
  registration.addEventListener('updatefound', () => {
    const worker = registration.installing;
    worker.addEventListener('statechange', () => { if (worker.state === 'installed' && navigator.serviceWorker.controller) offer(worker); });
  });
  // An installed page may stay open for weeks and never be loaded anew.
  setInterval(() => registration.update().catch(() => {}), UPDATE_EVERY_MS);
  // The first worker takes over a page that is up to date anyway; a later one means: reload. What is typed outlives it.
  if (controlled) navigator.serviceWorker.addEventListener('controllerchange', () => location.reload(), { once: true });
}
