/** The list of stations: which are shown, in which order, on which page. Pure. */

/** Stations on one page: what a browser draws at once without a pause, and a person looks through. */
export const PAGE_STATIONS = 50;

/** What a column sorts by; no value is last, whichever way it goes. */
const VALUES = {
  name: station => station.name.toLocaleLowerCase(),
  state: station => ['silent', 'forked', 'active', 'invited', 'revoked'].indexOf(station.state),
  contact: station => station.last_contact_ms,
  push: station => station.last_push_ms,
  pending: station => station.pending,
  oldest: station => station.oldest_ms,
  tidemark: station => station.tidemark,
  clock: station => (station.clock_offset_ms === null ? null : Math.abs(station.clock_offset_ms)),
  rejects: station => station.rejects_open,
  schema: station => station.schema_version,
  client: station => station.client_version,
  disk: station => station.free_disk_bytes,
};

/** The columns, and which way each is sorted first: what needs somebody comes first. */
export const COLUMNS = {
  name: 'up', state: 'up', contact: 'up', push: 'up', pending: 'down', oldest: 'up', tidemark: 'down', clock: 'down',
  rejects: 'down', schema: 'up', client: 'up', disk: 'up',
};

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' });

function compare(a, b, down) {
  if (a === b) return 0;
  if (a === null || a === undefined) return 1;
  if (b === null || b === undefined) return -1;
  const order = typeof a === 'string' ? collator.compare(a, b) : a - b;
  return down ? -order : order;
}

/** Everything a name, a number or a version is found by. */
const matches = (station, words) => {
  const text = `${station.name} ${station.number ?? ''} ${station.client_version ?? ''}`.toLocaleLowerCase();
  return words.every(word => text.includes(word));
};

/**
 * @param {object[]} stations In the server's order: who is silent comes first, the longest silent first of all.
 * @param {{search?: string, state?: string, sort?: string, down?: boolean, page?: number}} asked
 * @returns {{shown: object[], found: number, page: number, pages: number, from: number}}
 */
export function listed(stations, { search = '', state = '', sort = '', down = false, page = 1 } = {}) {
  const words = search.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  let found = stations.filter(station => (state === '' || is(station, state)) && (words.length === 0 || matches(station, words)));
  const value = Object.hasOwn(VALUES, sort) ? VALUES[sort] : null;
  if (value) {
    found = found.map((station, at) => [station, value(station), at])
      .sort(([, a, before], [, b, after]) => compare(a, b, down) || before - after).map(([station]) => station);
  }
  const pages = Math.max(1, Math.ceil(found.length / PAGE_STATIONS));
  const at = Math.min(Math.max(1, Number.isInteger(page) ? page : 1), pages);
  const from = (at - 1) * PAGE_STATIONS;
  return { shown: found.slice(from, from + PAGE_STATIONS), found: found.length, page: at, pages, from };
}

const is = (station, state) => (state === 'rejects' ? station.rejects_open > 0 : station.state === state);
