// Rows of the schema `varied`: every type, Cyrillic, NULLs, the ends of the ranges. Drawn from a seed, so that a failure can be run again.

const words = ['вода', 'Ёрш & Ко', 'СКУМБРИЯ Х/К', "it's", '\\', '水', 'a\tb\nc', '', '"', '%_', '🐟', 'СИНЕЦ ВЯЛЕНЫЙ'];

/** Whole numbers below `n`, from a seed. */
export function dice(seed) {
  let state = seed >>> 0;
  return (n) => {
    // mulberry32
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * n);
  };
}

export function uuid(draw) {
  const hex = Array.from({ length: 32 }, () => draw(16).toString(16)).join('');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
}

function real(draw) {
  return [() => draw(2 ** 32) / 2 ** 32, () => 0.1 + 0.2, () => -89.99999999999999, () => 5e-324, () => 60, () => draw(60), () => 1 / 3][draw(7)]();
}

function integer(draw) {
  return [() => draw(1000), () => -draw(1000), () => Number.MAX_SAFE_INTEGER, () => 9223372036854775807n, () => -9223372036854775808n, () => 2n ** 53n + 1n][draw(6)]();
}

function time(draw) {
  const ms = Date.UTC(2024, 0, 3) + draw(2 ** 32) * 10;
  const text = new Date(ms).toISOString();
  return [() => new Date(ms), () => text.replace('T', ' ').replace('Z', '123'), () => text.slice(0, 19), () => text][draw(4)]();
}

const columns = ['site_id', 'measured_at', 'temperature', 'count', 'note', 'ok', 'extra', 'raw', 'tag_uid', 'checked_at'];

/** Inserts one reading; its parameters come from `reading`. */
export const insertReading = `INSERT INTO reading (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')})`;

/** Parameters of a reading of one of `sites` sites. `note` in place of a drawn one. */
export function reading(draw, sites, note) {
  const maybe = (value) => (draw(5) === 0 ? null : value(draw));
  return [
    maybe(() => 1 + draw(sites)),
    time(draw),
    maybe(real),
    maybe(integer),
    note ?? maybe(() => Array.from({ length: draw(4) }, () => words[draw(words.length)]).join(' ')),
    maybe(() => draw(2) === 1),
    maybe(() => `{ "n": ${draw(1000)}, "t": "ж\\u0436" }`),
    maybe(() => Uint8Array.from({ length: draw(9) }, () => draw(256))),
    maybe(uuid),
    maybe(time),
  ];
}

/** Writes `sites` sites, `readings` readings and some tags in one go. */
export async function record(tab, draw, { sites = 5, readings = 50 } = {}) {
  const before = Number((await tab.db('query', 'SELECT coalesce(max(id), 0) AS n FROM site'))[0].n);
  const all = before + sites;
  const named = Array.from({ length: sites }, (_, n) => [`${words[draw(words.length)]} ${n}`, draw(2) && before ? 1 + draw(before) : null, real(draw)]);
  await tab.db('execMany', 'INSERT INTO site (name, parent_id, height) VALUES (?, ?, ?)', named);
  await tab.db('execMany', insertReading, Array.from({ length: readings }, () => reading(draw, all)));
  await tab.db('execMany', 'INSERT INTO tag VALUES (?, ?, ?)', Array.from({ length: 5 }, () => [uuid(draw), words[draw(words.length)], 1 + draw(all)]));
}

/** Edits, moves in time and deletes some of what is there. */
export async function correct(tab, draw) {
  const part = () => 2 + draw(5);
  await tab.db('exec', `UPDATE reading SET note = 'исправлено ' || id, temperature = temperature / 3 WHERE id % ${part()} = 0`);
  await tab.db('exec', `UPDATE reading SET measured_at = '2025-01-02 03:04:05.678901', ok = NULL WHERE id % ${part() + 3} = 1`);
  await tab.db('exec', `DELETE FROM reading WHERE id % ${part() + 2} = 1`);
  await tab.db('exec', "UPDATE site SET name = name || ' (новое имя)' WHERE id % 3 = 0");
  await tab.db('exec', 'DELETE FROM tag WHERE uid IN (SELECT uid FROM tag LIMIT 2)');
}
