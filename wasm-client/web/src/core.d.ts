/** What the WebAssembly module gives to the worker. Written in Rust: wasm-client/src/core.rs. Times are milliseconds since 1970 UTC. */

import type { Reject, SqlValue, StopKind } from './index.js';
import type { Request } from './protocol.js';

export type Action =
  | ({ do: 'send' } & Request)
  | { do: 'wait'; untilMs: number }
  | { do: 'idle' }
  | { do: 'stopped'; kind: StopKind; message: string; restMs: number | null };

export type Event =
  | { event: 'acked'; tidemark: number; changes: number; rejectedHere: number; rejectedByServer: number }
  | { event: 'agreed' }
  | { event: 'settled'; resolved: number; discarded: number }
  | { event: 'smaller'; rows: number }
  | { event: 'failed'; message: string; retryAtMs: number }
  | { event: 'stopped'; kind: StopKind; message: string }
  | { event: 'ignored' };

export interface CoreStatus {
  state: 'not-joined' | 'in-sync' | 'pending' | 'forked';
  number?: number | null;
  name?: string | null;
  server?: string | null;
  lastSeq: number;
  tidemark: number;
  pending: number;
  oldestPendingMs?: number | null;
  rejects: number;
  lastContactMs?: number | null;
  lastError?: string | null;
  lastErrorMs?: number | null;
  forked?: string | null;
}

export interface CoreOptions {
  name: string;
  schema?: string;
  server?: string;
  memory: boolean;
  uuid: Uint8Array;
  seed: number;
}

export interface Done {
  changes: number;
  lastInsertId: number;
}

export class Core {
  private constructor();
  static open(options: CoreOptions): Promise<Core>;
  exec(sql: string, params?: unknown): Done;
  execMany(sql: string, rows: readonly unknown[]): Done;
  query(sql: string, params?: unknown): { columns: string[]; rows: SqlValue[][] };
  insert(table: string, row: object): number;
  begin(): void;
  commit(): void;
  rollback(): void;
  inTransaction(): boolean;
  noteCall(tab: string, call: number, answer: string, doneUpTo: number): void;
  answerOf(tab: string, call: number): string | undefined;
  forgetTab(tab: string): void;
  takeChanges(): string[];
  tablesOf(sql: string): string[];
  checkCapture(): string[];
  status(): CoreStatus;
  next(nowMs: number): Action;
  onReply(nowMs: number, id: number, status: number, retryAfter: string | undefined, body: Uint8Array): Event;
  onFailure(nowMs: number, id: number, kind: import('./http.js').FailedHow, message: string): Event;
  noteFreeDisk(bytes: number): void;
  online(): void;
  offline(): void;
  resume(): void;
  farewell(nowMs: number, bodyBytesMax: number): Request | undefined;
  joinBegin(code: string, server: string | undefined, token: Uint8Array): ({ do: 'send' } & Request) | { joined: { number: number; name: string } };
  joinFinish(nowMs: number, status: number, retryAfter: string | undefined, body: Uint8Array): { number: number; name: string };
  rejects(): Reject[];
  repair(seq: number, set: object): void;
  requeue(seq: number): void;
  discard(seq: number): void;
  exportBundle(nowMs: number): Uint8Array | undefined;
  exportDatabase(): Uint8Array;
  evolve(schema: string): void;
  schema(): { name: string; version: number; fingerprint: string; tables: { name: string; key: string; columns: { name: string; type: string }[] }[] };
  close(): void;
}
