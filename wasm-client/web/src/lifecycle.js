/** What the browser tells a page about its own life, and what this tab does about it. */

/**
 * @param {import('./tab.js').Tab} tab
 * @returns {() => void} stops listening
 */
export function followLifecycle(tab) {
  const end = new AbortController();
  const { signal } = end;
  addEventListener('pagehide', ({ persisted }) => {
    // Not persisted: the worker goes with the page, and until then does what it was told last.
    if (persisted) tab.suspend(true);
    else tab.leave();
  }, { signal });
  addEventListener('pageshow', ({ persisted }) => { if (persisted) tab.resume(); }, { signal });
  document.addEventListener('freeze', () => tab.suspend(false), { signal });
  document.addEventListener('resume', () => tab.resume(), { signal });
  document.addEventListener('visibilitychange', () => tab.hint(document.visibilityState === 'hidden' ? 'hidden' : 'visible'), { signal });
  addEventListener('online', () => tab.hint('online'), { signal });
  addEventListener('offline', () => tab.hint('offline'), { signal });
  return () => end.abort();
}
