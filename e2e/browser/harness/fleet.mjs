// An operator before the fleet page, real stations that it shows, and stations as time would have made them.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { run } from './child.mjs';
import { program } from './paths.mjs';

export const english = {
  lang: 'en-US', view: { width: 1280, height: 900 }, token: 'Operator token', signIn: 'Sign in', signOut: 'Sign out', stations: 'Stations',
  sections: ['Stations', 'Rejects', 'Arrivals', 'Database', 'Acts'], wrong: /does not know this token/, ended: 'Your session has ended',
  other: 'RU, русский', otherTitle: 'Станции', silent: /^2 stations are silent$/, pending: '1,840 changes were waiting there', never: 'never',
};
export const russian = {
  lang: 'ru-RU', view: { width: 390, height: 844 }, token: 'Токен оператора', signIn: 'Войти', signOut: 'Выйти', stations: 'Станции',
  sections: ['Станции', 'Отклонённые', 'Поступления', 'База', 'Действия'], wrong: /не знает такого токена/, ended: 'Сеанс закончился',
  other: 'EN, English', otherTitle: 'Stations', silent: /^2 станции молчат$/, pending: /^ждали отправки 1\s840 изменений$/, never: 'ни разу',
};

/** Opens the page of the world's server in this browser; `at`: a place in it, `base`: where a proxy has it. */
export async function openPage(world, profile, words, { at = '', base = world.server.url } = {}) {
  const tab = await profile.tab('about:blank');
  await tab.page.setViewportSize(words.view);
  await tab.page.goto(`${base}/admin/${at}`);
  return { tab, page: tab.page };
}

/** Signs in by the form of the page, and waits for what it shows then. */
export async function signIn(page, words, token) {
  await page.getByLabel(words.token).fill(token);
  await page.getByRole('button', { name: words.signIn, exact: true }).click();
  await page.getByRole('navigation', { name: /Sections|Разделы/ }).waitFor();
}

/** Goes to a place of the page and waits until its answer is there. */
export async function go(page, place) {
  await page.evaluate((to) => { location.hash = to; }, place);
  await page.waitForFunction((to) => location.hash === to && /\d/.test(document.getElementById('fresh').textContent), place);
}

/** The page asks again now, as it does by itself every few seconds. */
export const refresh = (page) => page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));

/** A real station: a file of SQLite, written by Python as a plant's programs do, and the program `tidemark`. */
export class Plant {
  static async make(world, name) {
    const plant = new Plant();
    plant.file = join(world.folder, `${name}.db`);
    await plant.tidemark('init');
    return plant;
  }

  tidemark(...args) {
    return run(program('tidemark'), ['--db', this.file, ...args]);
  }

  async write(...statements) {
    const script = 'import sqlite3, sys\nwith sqlite3.connect(sys.argv[1]) as db:\n for s in sys.argv[2:]: db.execute(s)\n';
    await run('python3', ['-c', script, this.file, ...statements]);
  }
}

/** A name that would be markup, and turns the direction of what follows. */
export const HOSTILE = '<img src=x onerror="window.hit=1"> \u202Egnp.exe';

/**
 * Rows as days without contact would have made them: two silent stations, one forked, one invited, one revoked, and `many` that work.
 * Only what the fleet page reads of them is there.
 */
export async function populate(upstream, { many = 0 } = {}) {
  const now = Date.now();
  const [hour, day] = [3_600_000, 86_400_000];
  const stations = [
    { number: 1, name: HOSTILE, contact: now - 2 * hour, pending: null },
    { number: 2, name: 'Кольский рыбокомбинат, цех посола № 2', contact: now - 3 * day - 4 * hour, pending: 1840, oldest: now - 3 * day - 6 * hour, clock: -184_000, disk: 4e8 },
    { number: 3, name: 'forked', contact: now - 1000, fork: now - 5000 },
    { number: 4, name: 'ОченьДлинноеИмяСтанцииБезЕдиногоПробелаКотороеНекудаПереносить', contact: now - 1000, pending: 0 },
    { number: 5, name: 'lost-tablet', contact: now - 20 * day, revoked: now - 19 * day },
    { number: null, name: 'новый планшет' },
    ...Array.from({ length: many }, (_, at) => ({ number: 10 + at, name: `plant-${at}`, contact: now - 1000 * (at % 600), pending: at % 97 })),
  ];
  const time = (ms) => (ms === null || ms === undefined ? null : new Date(ms).toISOString());
  const columns = (of) => stations.map(of);
  await upstream.query(
    `INSERT INTO tidemark.station (name, number, station_uuid, token_hash, code_hash, code_expires_at, created_at, joined_at, revoked_at)
     SELECT name, number, CASE WHEN number IS NOT NULL THEN gen_random_uuid() END, CASE WHEN number IS NOT NULL THEN sha256(name::bytea) END,
       sha256(('code ' || name)::bytea), now() + interval '6 days', now() - interval '40 days',
       CASE WHEN number IS NOT NULL THEN now() - interval '39 days' END, revoked
     FROM unnest($1::text[], $2::integer[], $3::timestamptz[]) AS made (name, number, revoked)`,
    [columns(({ name }) => name), columns(({ number }) => number), columns(({ revoked }) => time(revoked))],
  );
  const joined = stations.filter(({ number }) => number !== null);
  const of = (take) => joined.map(take);
  await upstream.query(
    `INSERT INTO tidemark.contact (station, contact_at, reported_at, pending, oldest_ms, free_disk_bytes, client_version, schema_version, clock_offset_ms)
     SELECT * FROM unnest($1::integer[], $2::timestamptz[], $2::timestamptz[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::bigint[], $8::bigint[])`,
    [of(({ number }) => number), of(({ contact }) => time(contact)), of(({ pending }) => pending ?? null), of(({ oldest }) => oldest ?? null),
      of(({ disk = 41e9 }) => disk), of(() => '0.1.0'), of(() => 1), of(({ clock = 120 }) => clock)],
  );
  const forked = stations.filter(({ fork }) => fork);
  await upstream.query('INSERT INTO tidemark.fork (station, seq, seen_at) SELECT * FROM unnest($1::integer[], $2::bigint[], $3::timestamptz[])',
    [forked.map(({ number }) => number), forked.map(() => 5), forked.map(({ fork }) => time(fork))]);
  return stations;
}

/** What reaches beyond the sides of the window, or is cut off by what it stands in. */
export const sticksOut = (page) => page.evaluate(() => {
  const width = document.documentElement.clientWidth;
  const found = [];
  if (document.documentElement.scrollWidth > width) found.push(`the page is ${document.documentElement.scrollWidth} px wide`);
  for (const node of document.querySelectorAll('main *, header *, dialog *')) {
    const box = node.getBoundingClientRect();
    const hidden = getComputedStyle(node).clipPath !== 'none' || node.closest('.sr-only, thead, .brand') !== null;
    if (box.width === 0 || hidden) continue;
    if (box.right > width + 1 || box.left < -1) found.push(`${node.tagName}.${node.className}: ${node.textContent.slice(0, 40)}`);
  }
  return found;
});

/** Every table row's first cell that is shown. */
export const names = (page) => page.locator('.stations tbody th a').allInnerTexts();

export async function assertCalm(tab) {
  assert.deepEqual(tab.uncaught, []);
  // A refusal that a test asks for is on the console as the browser tells it; anything else is not expected there.
  assert.deepEqual(tab.console.filter((line) => !/Failed to load resource/.test(line)), []);
}
