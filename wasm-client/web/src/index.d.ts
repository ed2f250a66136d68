/**
 * Tidemark in a browser: an SQLite database of this origin that records while the network is away and pushes when it is back.
 *
 * ```js
 * import { Tidemark } from 'tidemark';
 * const db = await Tidemark.open({ name: 'field', schema: await (await fetch('weather.toml')).text() });
 * await db.insert('reading', { site_id: 1, temperature: -3.5 });
 * await db.join(code);            // any time later, once
 * db.on('status', status => { light.hidden = status.safeToLeave; });
 * ```
 *
 * SQLite and the sync engine run in a dedicated worker; the page never waits for the disk. A promise of a write that resolved means: the
 * row and its entry in the change log are committed to this device's storage.
 */

/** What SQLite holds. Integers beyond ±(2⁵³−1) come as bigint. */
export type SqlValue = null | number | bigint | string | Uint8Array;

/**
 * What can be bound: booleans are stored as 0 and 1, a Date as the text of a timestamp column (UTC, `YYYY-MM-DD HH:MM:SS.ffffff`).
 * A number without a fraction is bound as an integer while it is a safe one; SQLite's column affinity makes a real of it where that is declared.
 * JSON columns take text: `JSON.stringify` it.
 */
export type SqlInput = SqlValue | boolean | Date;

/** Positional (`?`) or named (`:name`, without the colon) parameters. */
export type SqlParams = readonly SqlInput[] | Readonly<Record<string, SqlInput>>;

/** A row by column names. */
export type Row = Record<string, SqlValue>;

export interface OpenOptions {
  /** Name of the database: letters, digits, `-` and `_`, at most 64. One database is one station. */
  name: string;
  /** The schema as TOML text. Needed when the database is made; later a newer version of it is followed, and leaving it out keeps what there is. */
  schema?: string;
  /** Base URL of the server, in place of the one a join code carries. */
  server?: string;
  /** `'allow'`: where the browser has no lasting storage, keep everything in memory instead of failing. Lost when the tab closes. */
  memory?: 'allow';
  /** Push by itself (the default), or only when `push()` is called. */
  sync?: 'auto' | 'manual';
  /** Where `tidemark_wasm_bg.wasm` lies, when it was moved away from the package's other files. */
  wasm?: string | URL;
}

/** What came of one statement. */
export interface Executed {
  /** Rows inserted, updated or deleted. */
  changes: number;
  /** The rowid of the last row inserted. */
  lastInsertId: number;
}

/** A write transaction; usable until the function it was given to has returned. */
export interface Transaction {
  exec(sql: string, params?: SqlParams): Promise<Executed>;
  /** Runs the statement once per element of `rows`; many rows go to the worker in pieces. If it rejects, let the transaction reject, too. */
  execMany(sql: string, rows: readonly SqlParams[]): Promise<Executed>;
  query<T extends object = Row>(sql: string, params?: SqlParams): Promise<T[]>;
  insert(table: string, row: Readonly<Record<string, SqlInput | undefined>>): Promise<number>;
}

export interface Status {
  /** Whether closing this device for ever would lose nothing: all is upstream, no reject is open, and it is known. */
  safeToLeave: boolean;
  /** Changes that are only on this device. */
  pending: number;
  /** When the oldest of them was made, milliseconds since 1970 UTC by this device's clock. */
  oldestPendingAt: number | null;
  /** Number of the last change, and of the last one durable upstream. */
  lastSeq: number;
  tidemark: number;
  /** Changes that could not be applied and wait for repair. */
  rejects: number;
  /** This station, once it has joined. */
  station: { number: number; name: string } | null;
  server: string | null;
  sync: {
    /**
     * `not-joined`: records, and has no server yet · `idle`: nothing to send · `sending` · `waiting`: failed, tries again at `retryAt` ·
     * `stopped`: needs a person, see `stop` · `off`: `sync: 'manual'`, and changes wait for `push()`.
     */
    state: 'not-joined' | 'idle' | 'sending' | 'waiting' | 'stopped' | 'off';
    retryAt: number | null;
    stop: { kind: StopKind; message: string } | null;
    lastContactAt: number | null;
    /** `kind` is null when it failed before this page was opened. */
    lastError: { message: string; at: number; kind: FailureKind | null } | null;
  };
  storage: {
    /** `memory`: everything is lost when the tab closes. */
    kind: 'opfs' | 'memory';
    /** Whether the browser promised not to evict it; null where it cannot be asked. */
    persisted: boolean | null;
    usageBytes: number | null;
    quotaBytes: number | null;
    /** Why changes that are only here are in danger, or null: no persistence granted, little room left, memory only. */
    risk: 'evictable' | 'nearly-full' | 'memory' | null;
    /** The risk in words, with what to do. */
    message: string | null;
  };
  /** This tab: `owner` has the database open, `guest` works through another tab, `waiting`: nobody has it open just now. */
  role: 'owner' | 'guest' | 'waiting';
}

/**
 * What failed last: the server could not be reached · did not answer in time · answered that it cannot take the changes, or nothing that a server of
 * ours says · the database on this device refused, being full for example.
 */
export type FailureKind = 'unreachable' | 'timeout' | 'answer' | 'storage';

export type StopKind =
  | 'not-joined' | 'forked' | 'revoked' | 'unauthorized' | 'wrong-station' | 'schema' | 'tampered' | 'too-large' | 'refused';

/** How a push ended. */
export interface Pushed {
  /** `done`: everything that was in the log when it began is upstream · `unreachable`: nothing lost, tried again · `stopped`: needs a person. */
  outcome: 'done' | 'unreachable' | 'stopped';
  changes: number;
  rejected: number;
  message: string | null;
  stop: { kind: StopKind; message: string } | null;
}

/** Which tables a commit changed, in any tab. */
export interface Change {
  tables: string[];
}

/** A change that could not be applied. */
export interface Reject {
  seq: number;
  table: string;
  op: 'insert' | 'update' | 'delete';
  /** Who refused it. */
  origin: 'station' | 'server';
  code: string;
  message: string;
  /** The row as it was to be, by column. */
  row: Row;
}

export interface ExportOptions {
  /**
   * `bundle` (the default): what is pending, for `tidemark-server import`; needs a station that has joined.
   * `database`: the whole SQLite file.
   */
  what?: 'bundle' | 'database';
}

/** Names the failure for programs; `message` says what happened, where, and what to do. */
export type ErrorCode =
  /** No lasting storage here (no OPFS, not a secure context, private mode). */
  | 'no-storage'
  /** The disk or the origin's quota is full; the statement was rolled back, nothing before it is lost. */
  | 'full'
  /** The stored database does not pass its check. */
  | 'corrupt'
  /** Written by a newer version of Tidemark. */
  | 'newer'
  /** The schema is not one, is missing, or cannot follow the one the database has. */
  | 'schema'
  /** SQLite refused the statement. */
  | 'sql'
  /** A constraint of the table refused the row. */
  | 'constraint'
  /** An argument is not of the kind that is asked for. */
  | 'argument'
  /** The transaction was open for too long, or its tab lost the database; it was rolled back: run it again. */
  | 'rolled-back'
  /** `close()` was called. */
  | 'closed'
  /** Join: the code is none, is used up, or the server refused; `reason` says which. */
  | 'join'
  /** The server cannot be reached, or cannot answer now. */
  | 'unreachable'
  /** The station has not joined. */
  | 'not-joined'
  /** The worker or the WebAssembly module could not be loaded. */
  | 'load'
  /** Another tab has the database and does not answer, or far too many calls are waiting to be done. */
  | 'busy'
  /** A broken invariant: please report it. */
  | 'bug';

/** Why a join code is not taken. */
export type JoinReason =
  /** It is no join code: one begins with `tide1-` or `tide2-`. */
  | 'form'
  /** It is not whole, or a character of it was changed. */
  | 'damaged'
  /** The server did not make it. */
  | 'unknown'
  /** Another station used it. */
  | 'used'
  /** Its time is over. */
  | 'expired'
  /** This database joined before, by another code: that one once more repairs a lost reply. */
  | 'joined-before'
  /** It was made for another station's file. */
  | 'other-file'
  /** Its station was revoked. */
  | 'revoked'
  /** The server does not take the schema of this database. */
  | 'schema';

export class TidemarkError extends Error {
  readonly name: 'TidemarkError';
  readonly code: ErrorCode;
  /** With the code `join`: why, where that is known. */
  readonly reason: JoinReason | null;
  constructor(code: ErrorCode, message: string, reason?: JoinReason | null);
}

/** Ends a subscription. */
export type Unsubscribe = () => void;

export class Tidemark {
  /** Only {@link Tidemark.open} makes one. */
  private constructor();

  /**
   * Opens the database of this origin, making it when it is new. In any number of tabs: one of them owns it, the others work through that
   * one, and another takes over within a second when the owner closes, crashes or is frozen.
   */
  static open(options: OpenOptions): Promise<Tidemark>;

  /** Joins the server with a code that its operator made (`tidemark-server station add NAME`). The same call repairs a lost reply. */
  join(code: string): Promise<{ number: number; name: string }>;

  /** Runs one statement. Resolved: committed on this device. */
  exec(sql: string, params?: SqlParams): Promise<Executed>;
  /** Runs the statement once per element of `rows`, in one transaction. */
  execMany(sql: string, rows: readonly SqlParams[]): Promise<Executed>;
  /** Reads rows. */
  query<T extends object = Row>(sql: string, params?: SqlParams): Promise<T[]>;
  /** Inserts a row and returns its id; columns left out (or undefined) take their defaults. */
  insert(table: string, row: Readonly<Record<string, SqlInput | undefined>>): Promise<number>;
  /**
   * Runs `work` in one write transaction: committed when its promise resolves, rolled back when it rejects, or when it is open for more
   * than 5 s without a statement. Nobody else writes meanwhile, so keep it short: no network inside.
   */
  transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T>;

  /** Pushes what is in the log now, ending any wait. */
  push(): Promise<Pushed>;
  status(): Promise<Status>;

  /** Calls `fn` with the status whenever it changes (at most every 100 ms), and once now. */
  on(event: 'status', fn: (status: Status) => void): Unsubscribe;
  /** Calls `fn` after every commit, of whichever tab, that changed rows. */
  on(event: 'change', fn: (change: Change) => void): Unsubscribe;

  /** Calls `fn` with the rows now and whenever a commit may have changed them. A statement that fails is told to `onError`. */
  liveQuery<T extends object = Row>(
    sql: string, params: SqlParams | undefined, fn: (rows: T[]) => void, onError?: (error: TidemarkError) => void,
  ): Unsubscribe;

  /** The open rejects, oldest first. */
  rejects(): Promise<Reject[]>;
  /** Corrects the row of a rejected change: a new change, pushed like any other. */
  repair(seq: number, set: Readonly<Record<string, SqlInput>>): Promise<void>;
  /** Sends the row of a rejected change once more as it is now. */
  requeue(seq: number): Promise<void>;
  /** Gives up a rejected change on this device; it stays in the server's list. */
  discard(seq: number): Promise<void>;

  /** What is only on this device, as a file to carry. Empty (`size` 0) when nothing is pending. */
  export(options?: ExportOptions): Promise<Blob>;

  /** Asks the browser not to evict this origin's storage; resolves to whether it agreed. `open` asks once by itself. */
  persist(): Promise<boolean>;

  /** Ends this tab's part. When it was the owner, another tab takes over. */
  close(): Promise<void>;
}
