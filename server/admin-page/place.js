/** Where the page is: the part of its address after `#`, so that a place can be kept, sent and gone back to. Pure. */

/** `#/stations/3?state=open` as `{ parts: ['stations', '3'], query: { state: 'open' } }`. */
export function parse(hash) {
  const [path, search = ''] = hash.replace(/^#\/?/, '').split('?');
  return {
    parts: path.split('/').filter(Boolean).map(text),
    query: Object.fromEntries(new URLSearchParams(search)),
  };
}

/** A part as text; what is none stands for itself. */
function text(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The reverse; what is empty is left out. */
export function href(parts, query = {}) {
  const set = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== '');
  const search = set.length === 0 ? '' : `?${new URLSearchParams(set.map(([name, value]) => [name, String(value)]))}`;
  return `#/${parts.map(part => encodeURIComponent(part)).join('/')}${search}`;
}
