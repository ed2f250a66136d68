import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lightOf } from '../notebook/light.js';

/** A joined device with nothing to send, and what is different. */
function status({ sync, storage, ...rest } = {}) {
  return {
    safeToLeave: true, pending: 0, oldestPendingAt: null, lastSeq: 5, tidemark: 5, rejects: 0, station: { number: 1, name: 'Store 3' }, server: 'https://x',
    role: 'owner', ...rest,
    sync: { state: 'idle', retryAt: null, stop: null, lastContactAt: 1, lastError: null, ...sync },
    storage: { kind: 'opfs', persisted: true, usageBytes: 1, quotaBytes: 9, risk: null, message: null, ...storage },
  };
}
const pending = { safeToLeave: false, pending: 3, oldestPendingAt: 1_000 };
const said = answer => [answer.level, answer.headline[0], ...answer.details.map(([key]) => key)];

test('safe only when the database says so', () => {
  assert.deepEqual(said(lightOf(status())), ['safe', 'light.safe', 'light.safeDetail']);
  assert.deepEqual(said(lightOf(status({ safeToLeave: false }))), ['wait', 'light.asking']);
  assert.equal(lightOf(null).level, 'unknown');
});

test('changes only on this device are counted, with the oldest and what the sending is at', () => {
  const answer = lightOf(status({ ...pending, sync: { state: 'waiting', retryAt: 5_000 } }));
  assert.deepEqual(said(answer), ['wait', 'light.pending', 'light.offline', 'light.retry', 'light.since']);
  assert.deepEqual(answer.headline[1], { n: 3 });
  assert.deepEqual(answer.details[2][1], { since: new Date(1_000) });
  assert.deepEqual(said(lightOf(status({ ...pending, sync: { state: 'sending' } })))[2], 'light.sending');
});

test('without a network the light says first that waiting loses nothing, whatever else there is to say', () => {
  const storage = { risk: 'evictable', persisted: false };
  const offline = kind => ({ state: 'waiting', retryAt: 5_000, lastError: { message: 'x', at: 1, kind } });
  assert.deepEqual(said(lightOf(status({ ...pending, storage, sync: offline('unreachable') }))),
    ['wait', 'light.pending', 'light.offline', 'light.retry', 'light.since', 'light.evictable']);
  // A server that answers is there.
  assert.equal(said(lightOf(status({ ...pending, storage, sync: offline('answer') })))[2], 'light.busy');
});

test('a device that has not joined says so, with and without records', () => {
  const alone = { station: null, sync: { state: 'not-joined' }, safeToLeave: false };
  assert.deepEqual(said(lightOf(status(alone))), ['wait', 'light.notJoined', 'light.notJoinedHint']);
  assert.deepEqual(said(lightOf(status({ ...alone, ...pending }))), ['wait', 'light.pending', 'light.notJoined', 'light.since']);
});

test('every risk to the storage is said, the worse ones first', () => {
  assert.deepEqual(said(lightOf(status({ ...pending, storage: { risk: 'evictable' } }))), ['wait', 'light.pending', 'light.since', 'light.evictable']);
  assert.deepEqual(said(lightOf(status({ ...pending, storage: { risk: 'nearly-full' } }))), ['danger', 'light.nearlyFull', 'light.pending', 'light.since']);
  assert.deepEqual(said(lightOf(status({ storage: { kind: 'memory', risk: 'memory' } }))), ['danger', 'light.memory']);
  assert.equal(lightOf(status({ storage: { risk: 'evictable' } })).level, 'safe');
});

test('rejected changes ask for repair, and a refusal of the server stands before them', () => {
  assert.deepEqual(said(lightOf(status({ rejects: 2, safeToLeave: false }))), ['wait', 'light.rejects']);
  const revoked = { rejects: 2, ...pending, sync: { state: 'stopped', stop: { kind: 'revoked', message: 'x' } } };
  assert.deepEqual(said(lightOf(status(revoked))), ['danger', 'stop.revoked', 'light.pending', 'light.since']);
});

test('nothing but a safe database is shown as safe', () => {
  const different = [
    { pending: 1 }, { rejects: 1 }, { station: null, sync: { state: 'not-joined' } }, { storage: { risk: 'memory' } }, { storage: { risk: 'nearly-full' } },
    ...['revoked', 'forked', 'unauthorized', 'wrong-station', 'schema', 'tampered', 'too-large', 'refused'].map(kind => ({ sync: { state: 'stopped', stop: { kind, message: '' } } })),
  ];
  for (const part of different) assert.notEqual(lightOf(status({ safeToLeave: false, ...part })).level, 'safe', JSON.stringify(part));
});
