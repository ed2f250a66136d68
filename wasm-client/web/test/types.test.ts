/** Compiled by `npm run check`, never run: what an app writes must compile, and what is wrong must not. */

import { Tidemark, TidemarkError } from '../src/index.js';
import type { Change, ErrorCode, Executed, Pushed, Reject, SqlValue, Status, StopKind, Transaction, Unsubscribe } from '../src/index.js';
import { TidemarkError as TidemarkErrorAsWritten } from '../src/errors.js';
import type { precache } from '../src/precache.js';
import { precache as precacheAsWritten } from '../src/service-worker.js';
import { Tidemark as TidemarkAsWritten } from '../src/tidemark.js';

// The sources keep what the types say; the rest of it is held by @implements there.
export const open: typeof Tidemark.open = TidemarkAsWritten.open;
export const install: typeof precache = precacheAsWritten;
export const made: TidemarkError = new TidemarkErrorAsWritten('full', 'no room');

interface Reading {
  id: number;
  measured_at: string;
  temp: number | null;
}

export async function app(code: string): Promise<void> {
  const db = await Tidemark.open({ name: 'field', schema: 'name = "weather"', server: 'https://upstream.example', memory: 'allow', sync: 'manual', wasm: new URL('https://cdn.example/t.wasm') });
  const { number, name } = await db.join(code);
  const words: string = `${number.toFixed()} ${name.trim()}`;

  const id: number = await db.insert('reading', { measured_at: new Date(), temp: undefined, wet: true, note: null, bytes: new Uint8Array(3), big: 1n });
  const done: Executed = await db.exec('UPDATE reading SET temp = ? WHERE id = ?', [1.5, id]);
  await db.exec('UPDATE reading SET temp = :temp', { temp: 2 });
  await db.execMany('INSERT INTO reading (temp) VALUES (?)', [[1], [2]]);
  const rows = await db.query('SELECT * FROM reading');
  const value: SqlValue | undefined = rows[0]?.['temp'];
  const readings: Reading[] = await db.query<Reading>('SELECT id, measured_at, temp FROM reading WHERE id > ?', [id]);
  const answer: string = await db.transaction(async (tx: Transaction) => {
    await tx.insert('site', { id: 1 });
    const [site] = await tx.query<{ id: number }>('SELECT id FROM site');
    return `${words} ${site?.id} ${done.changes} ${String(value)} ${readings.length}`;
  });

  const stops: Unsubscribe[] = [
    db.on('status', (status: Status) => { document.title = status.safeToLeave ? 'safe' : `${status.pending} only here`; }),
    db.on('change', ({ tables }: Change) => console.log(tables.join())),
    db.liveQuery<Reading>('SELECT * FROM reading', undefined, (found) => console.log(found[0]?.temp, answer)),
    db.liveQuery('SELECT * FROM reading WHERE id = ?', [id], (found) => console.log(found.length), (error) => console.log(error.code)),
  ];
  stops.forEach((stop) => stop());

  const pushed: Pushed = await db.push();
  if (pushed.outcome === 'stopped') {
    const kind: StopKind | undefined = pushed.stop?.kind;
    console.log(kind === 'revoked');
  }
  const rejects: Reject[] = await db.rejects();
  for (const { seq } of rejects) {
    await db.repair(seq, { temp: 3 });
    await db.requeue(seq);
    await db.discard(seq);
  }
  const blob: Blob = await db.export();
  console.log(blob.size + (await db.export({ what: 'database' })).size, await db.persist(), (await db.status()).role === 'guest');
  try {
    await db.close();
  } catch (error) {
    if (error instanceof TidemarkError) {
      const known: ErrorCode = error.code;
      console.log(known === 'rolled-back');
    }
  }
}

export async function wrong(db: Tidemark): Promise<void> {
  // @ts-expect-error -- a database is opened with Tidemark.open
  new Tidemark();
  // @ts-expect-error -- it needs a name
  await Tidemark.open({ schema: '' });
  // @ts-expect-error -- memory is asked for by the word
  await Tidemark.open({ name: 'field', memory: true });
  // @ts-expect-error -- objects are no values of SQLite: JSON.stringify them
  await db.exec('SELECT ?', [{ a: 1 }]);
  // @ts-expect-error -- nor are functions
  await db.insert('reading', { temp: () => 3 });
  // @ts-expect-error -- there is no such event
  db.on('changed', () => {});
  // @ts-expect-error -- parameters may be undefined, but not forgotten
  db.liveQuery('SELECT 1', (rows: unknown[]) => rows);
  // @ts-expect-error -- rows are arrays or objects
  await db.execMany('INSERT INTO reading (temp) VALUES (?)', [1, 2]);
  // @ts-expect-error -- the function is asynchronous
  await db.transaction((tx) => 3);
  // @ts-expect-error -- there is no such state
  if ((await db.status()).sync.state === 'broken') return;
  // @ts-expect-error -- there is no such export
  await db.export({ what: 'csv' });
  const error = new TidemarkError('full', 'no room');
  // @ts-expect-error -- there is no such code
  if (error.code === 'oops') return;
  // @ts-expect-error -- what happened stays what happened
  error.code = 'sql';
}
