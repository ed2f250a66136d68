// The place where it is kept: full, missing, in danger, damaged.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { insertReading, reading, dice } from './harness/rows.mjs';
import { assertSame } from './harness/upstream.mjs';
import { World } from './harness/world.mjs';

const note = 'INSERT INTO reading (measured_at, note) VALUES (?, ?)';
const count = async (tab) => Number((await tab.db('query', 'SELECT count(*) AS n FROM reading'))[0].n);

test('a full quota is an error that loses nothing, and the work goes on when there is room', async (t) => {
  const world = await World.make(t);
  const profile = await world.profile();
  const tab = await profile.tab(world.app.origin, world.options());
  const station = await tab.db('join', await world.server.addStation('a'));
  await tab.db('exec', note, ['2025-01-01', 'до']);
  const { usage } = await tab.run(() => navigator.storage.estimate());
  await tab.cdp.send('Storage.overrideQuotaForOrigin', { origin: world.app.origin, quotaSize: usage + 3_000_000 });
  const full = await tab.run(async (sql) => {
    let kept = 1;
    for (let n = 0; n < 200; n += 1) {
      try {
        await db.execMany(sql, Array.from({ length: 10 }, () => ['2025-01-02', 'х'.repeat(20_000)]));
        kept += 10;
      } catch (error) {
        return { kept, code: error.code, message: error.message };
      }
    }
    return { kept };
  }, note);
  assert.equal(full.code, 'full', JSON.stringify(full));
  assert.match(full.message, /full|quota|room|space/i);
  assert.equal(await count(tab), full.kept);
  // The browser tells nobody how much room there is; that there was none is known.
  await tab.statusThat((status) => status.storage.risk === 'nearly-full' && status.storage.message.length > 10);
  // It is still full, the next one says so too; nothing of a transaction stays.
  await assert.rejects(tab.run(async (sql) => db.transaction(async (tx) => {
    for (let n = 0; n < 20; n += 1) await tx.exec(sql, ['2025-01-03', 'х'.repeat(500_000)]);
  }), note), { code: 'full' });
  assert.equal(await count(tab), full.kept);
  await tab.reload();
  assert.equal(await count(tab), full.kept);
  // What is here still goes upstream.
  await tab.db('push');
  await tab.statusThat((status) => status.safeToLeave);
  await tab.cdp.send('Storage.overrideQuotaForOrigin', { origin: world.app.origin });
  await tab.db('execMany', note, Array.from({ length: 50 }, () => ['2025-01-04', 'х'.repeat(20_000)]));
  assert.equal(await count(tab), full.kept + 50);
  await tab.db('push');
  await tab.statusThat((status) => status.safeToLeave);
  await assertSame(tab, world.upstream, world.schema, station.number);
});

test('little room left is told before it is full', async (t) => {
  const world = await World.make(t, { server: false });
  // Chromium tells pages that there are 10 GiB more than are used, whatever there is, so that they know less about the device.
  const profile = await world.profile({ flags: ['--disable-features=StaticStorageQuota'] });
  const tab = await profile.tab(world.app.origin, world.options());
  await profile.cdp.send('Browser.grantPermissions', { origin: world.app.origin, permissions: ['durableStorage'] });
  await tab.db('persist');
  await tab.db('execMany', note, Array.from({ length: 100 }, () => ['2025-01-04', 'х'.repeat(20_000)]));
  const { usage } = await tab.run(() => navigator.storage.estimate());
  await tab.cdp.send('Storage.overrideQuotaForOrigin', { origin: world.app.origin, quotaSize: Math.round(usage * 1.02) });
  await tab.reload();
  const status = await tab.statusThat((status) => status.storage.risk === 'nearly-full');
  assert.ok(status.storage.usageBytes > 0 && status.storage.quotaBytes >= status.storage.usageBytes);
  assert.ok(status.storage.message.length > 10);
});

test('eviction is a risk until the browser promises otherwise', async (t) => {
  const world = await World.make(t, { server: false });
  const profile = await world.profile();
  const tab = await profile.tab(world.app.origin, world.options());
  const before = (await tab.statusThat((status) => status.storage.persisted !== null)).storage;
  assert.deepEqual([before.kind, before.persisted, before.risk], ['opfs', false, 'evictable']);
  assert.match(before.message, /evict|delete|remove|clear/i);
  assert.equal(await tab.db('persist'), false);
  await profile.cdp.send('Browser.grantPermissions', { origin: world.app.origin, permissions: ['durableStorage'] });
  assert.equal(await tab.db('persist'), true);
  const after = (await tab.statusThat((status) => status.storage.persisted === true)).storage;
  assert.deepEqual([after.risk, after.message], [null, null]);
  assert.ok(after.usageBytes > 0 && after.quotaBytes > after.usageBytes);
});

test('open asks for persistence by itself', async (t) => {
  const world = await World.make(t, { server: false });
  const profile = await world.profile();
  await profile.cdp.send('Browser.grantPermissions', { origin: world.app.origin, permissions: ['durableStorage'] });
  const tab = await profile.tab(world.app.origin, world.options());
  const { storage } = await tab.statusThat((status) => status.storage.persisted === true);
  assert.equal(storage.risk, null);
});

test('where the browser has no lasting storage it says so, and keeps rows in memory only when asked', async (t) => {
  const world = await World.make(t, { allow: [] });
  // A page that did not come over a secure connection has no private file system.
  const profile = await world.profile({ flags: ['--host-resolver-rules=MAP plain.test 127.0.0.1'] });
  const tab = await profile.tab(`http://plain.test:${world.app.port}`);
  assert.equal(await tab.run(() => isSecureContext), false);
  await assert.rejects(tab.open(world.options()), (error) => error.code === 'no-storage' && /memory/.test(error.message));
  await tab.open(world.options({ memory: 'allow' }));
  await tab.db('exec', note, ['2025-01-01', 'в памяти']);
  assert.equal(await count(tab), 1);
  const { storage, role } = await tab.db('status');
  assert.deepEqual([storage.kind, storage.risk, role], ['memory', 'memory', 'owner']);
  assert.ok(storage.message.length > 10);
  await tab.reload();
  assert.equal(await count(tab), 0);
});

test('memory is not used where there is lasting storage', async (t) => {
  const world = await World.make(t, { server: false });
  const profile = await world.profile();
  const tab = await profile.tab(world.app.origin, world.options({ memory: 'allow' }));
  await tab.db('exec', note, ['2025-01-01', 'надолго']);
  assert.equal((await tab.db('status')).storage.kind, 'opfs');
  await tab.reload();
  assert.equal(await count(tab), 1);
});

/** Overwrites bytes in the middle of every file of the origin that holds a database, as a dying disk would. */
const damage = async () => {
  const source = `onmessage = async () => {
    let damaged = 0;
    const walk = async (folder) => {
      for await (const entry of folder.values()) {
        if (entry.kind === 'directory') { await walk(entry); continue; }
        const handle = await entry.createSyncAccessHandle();
        const size = handle.getSize();
        if (size > 40_000) {
          for (let at = 4096 + 8192; at < size; at += 4096) handle.write(new Uint8Array(3000).fill(165), { at: at + 500 });
          damaged += 1;
        }
        handle.flush();
        handle.close();
      }
    };
    try { await walk(await navigator.storage.getDirectory()); postMessage(damaged); } catch (error) { postMessage(String(error)); }
  };`;
  const worker = new Worker(URL.createObjectURL(new Blob([source])));
  return new Promise((resolve) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.postMessage(null);
  });
};

test('a damaged database is not opened as if nothing were wrong', async (t) => {
  const world = await World.make(t, { server: false });
  const profile = await world.profile();
  const tab = await profile.tab(world.app.origin, world.options());
  const draw = dice(1);
  await tab.db('execMany', 'INSERT INTO site (name) VALUES (?)', Array.from({ length: 5 }, (_, n) => [`пост ${n}`]));
  await tab.db('execMany', insertReading, Array.from({ length: 2000 }, () => reading(draw, 5)));
  await tab.db('close');
  assert.ok((await tab.run(damage)) >= 1);
  await assert.rejects(tab.open(world.options()), (error) => error.code === 'corrupt' && error.message.length > 20);
});
