/** What this browser remembers of the page itself. Without storage (it can be forbidden) everything works and is forgotten. */

const PREFIX = 'notebook.';

export function recall(key) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + key));
  } catch {
    return null;
  }
}

export function remember(key, value) {
  try {
    if (value === null) localStorage.removeItem(PREFIX + key);
    else localStorage.setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    // Forbidden or full: not worth a word, the records are elsewhere.
  }
}
