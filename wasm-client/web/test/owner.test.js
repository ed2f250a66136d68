import assert from 'node:assert/strict';
import { test } from 'node:test';
import { World, now, settle } from './fakes/world.js';

const put = (what) => ['exec', [`put ${what}`]];

test('a write whose answer was lost with its owner is answered by the next one, and not done twice', async () => {
  const world = new World();
  await world.own();
  const tab = world.tab('a');
  tab.deaf = true;
  const insert = tab.call('insert', ['thing', { what: 'x' }]);
  assert.equal(await now(insert), 'open');
  assert.deepEqual(world.disk.rows, ['x']);
  tab.deaf = false;
  await world.own();
  assert.equal(await insert, 1);
  assert.deepEqual(world.disk.rows, ['x']);
});

test('a write that was not committed is done by the next owner, in the order of its tab', async () => {
  const world = new World();
  const tab = world.tab('a');
  const all = ['x', 'y', 'z'].map((what) => tab.call(...put(what)));
  await settle();
  await world.own();
  await Promise.all(all);
  assert.deepEqual(world.disk.rows, ['x', 'y', 'z']);
});

test('notes of answers that arrived do not pile up', async () => {
  const world = new World();
  await world.own();
  const tab = world.tab('a');
  for (let n = 0; n < 50; n += 1) await tab.call(...put(n));
  assert.ok(world.disk.notes.size <= 2, `${world.disk.notes.size} notes`);
});

test('calls made in one task share a commit; a refused one does not take the others with it', async () => {
  const world = new World();
  await world.own();
  const tab = world.tab('a');
  const before = world.core.commits;
  await Promise.all(Array.from({ length: 100 }, (_, n) => tab.call(...put(n))));
  assert.equal(world.core.commits - before, 1);
  const mixed = [put('x'), ['exec', ['refuse']], put('y')].map((call) => tab.call(...call));
  const states = await Promise.all(mixed.map(now));
  assert.deepEqual(states.map(({ code }) => code), [undefined, 'constraint', undefined]);
  assert.deepEqual(world.disk.rows.slice(100), ['x', 'y']);
});

test('while a transaction is open, nobody else reads or writes, and all of it is committed at once', async () => {
  const world = new World();
  await world.own();
  const [a, b] = [world.tab('a'), world.tab('b')];
  const { tx } = await a.call('begin');
  await a.call('exec', ['put x'], tx);
  const [read, written] = [b.call('query', ['']), b.call(...put('y'))];
  assert.equal(await now(read), 'open');
  assert.deepEqual((await a.call('query', [''], tx)).rows, [{ what: 'x' }]);
  assert.deepEqual(world.disk.rows, []);
  await a.call('commit', [], tx);
  assert.deepEqual((await read).rows, [{ what: 'x' }]);
  await written;
  assert.deepEqual(world.disk.rows, ['x', 'y']);
});

test('a transaction without a statement for 5 s is rolled back, says so, and lets the others in', async () => {
  const world = new World();
  await world.own();
  const [a, b] = [world.tab('a'), world.tab('b')];
  const { tx } = await a.call('begin');
  await a.call('exec', ['put x'], tx);
  const written = b.call(...put('y'));
  await world.clock.pass(4_999);
  assert.equal(await now(written), 'open');
  await a.call('exec', ['put x2'], tx);
  await world.clock.pass(4_999);
  assert.equal(await now(written), 'open');
  await world.clock.pass(1);
  await written;
  assert.deepEqual(world.disk.rows, ['y']);
  const late = await now(a.call('exec', ['put z'], tx));
  assert.equal(late.code, 'rolled-back');
  assert.match(late.message, /5 s without a statement/);
  assert.equal((await now(a.call('commit', [], tx))).code, 'rolled-back');
  assert.deepEqual(world.disk.rows, ['y']);
});

test('a transaction ends with its owner, unless it was committed', async () => {
  const world = new World();
  await world.own();
  const tab = world.tab('a');
  const first = await tab.call('begin');
  await tab.call('exec', ['put x'], first.tx);
  await world.own();
  assert.equal((await now(tab.call('commit', [], first.tx))).code, 'rolled-back');
  assert.deepEqual(world.disk.rows, []);

  const second = await tab.call('begin');
  await tab.call('exec', ['put y'], second.tx);
  tab.deaf = true;
  const commit = tab.call('commit', [], second.tx);
  await settle();
  tab.deaf = false;
  await world.own();
  await commit;
  assert.deepEqual(world.disk.rows, ['y']);
});

test('a tab that goes takes its transaction and its waiting calls with it, and its notes', async () => {
  const world = new World();
  await world.own();
  const [a, b] = [world.tab('a'), world.tab('b')];
  await b.call(...put('w'));
  const { tx } = await b.call('begin');
  await b.call('exec', ['put x'], tx);
  const written = a.call(...put('y'));
  b.call(...put('never')).catch(() => {});
  await settle();
  world.watched.get('b')();
  await written;
  assert.deepEqual(world.disk.rows, ['w', 'y']);
  assert.deepEqual([...world.disk.notes.keys()].filter((key) => key.startsWith('b')), []);
  // A call that was on its way is not done either.
  world.owner.receive({ t: 'calls', tab: 'b', doneUpTo: 0, calls: [{ n: 9, what: 'exec', args: ['put late'] }] });
  await settle();
  assert.deepEqual(world.disk.rows, ['w', 'y']);
});

test('a new owner learns of tabs that went while nobody was there', async () => {
  const world = new World();
  world.disk.notes.set('gone 3', '1');
  await world.own();
  world.watched.get('gone')();
  await settle();
  assert.equal(world.disk.notes.size, 0);
});

test('a full disk in a transaction ends it, and the rest of it is not committed alone', async () => {
  const world = new World();
  await world.own();
  const tab = world.tab('a');
  const { tx } = await tab.call('begin');
  await tab.call('exec', ['put x'], tx);
  const states = await Promise.all([tab.call('exec', ['full'], tx), tab.call('exec', ['put y'], tx), tab.call('commit', [], tx)].map(now));
  assert.deepEqual(states.map(({ code }) => code), ['full', 'rolled-back', 'rolled-back']);
  assert.match(states[1].message, /no room/);
  assert.deepEqual(world.disk.rows, []);
  await tab.call(...put('z'));
  assert.deepEqual(world.disk.rows, ['z']);
});

test('a commit that fails is rolled back and told', async () => {
  const world = new World();
  await world.own();
  const tab = world.tab('a');
  const { tx } = await tab.call('begin');
  await tab.call('exec', ['put x'], tx);
  world.core.failing.set('commit', Object.assign(new Error('no room'), { code: 'full' }));
  assert.equal((await now(tab.call('commit', [], tx))).code, 'full');
  assert.equal(world.core.inTransaction(), false);
  await tab.call(...put('y'));
  assert.deepEqual(world.disk.rows, ['y']);
});

test('what traps the module is told to its caller as a bug, ends the owner, and is not asked of the next', async () => {
  const world = new World();
  await world.own();
  const tab = world.tab('a');
  await tab.call(...put('x'));
  const states = await Promise.all([tab.call('execMany', ['', ['y']]), tab.call('exec', ['trap']), tab.call(...put('z'))].map(now));
  assert.deepEqual(states.map((state) => state.code ?? typeof state), ['object', 'bug', 'string']);
  assert.equal(world.died.code, 'bug');
  await world.own();
  await settle();
  assert.deepEqual(world.disk.rows, ['x', 'y', 'z']);
});

test('every commit is told with its tables; what was rolled back is not', async () => {
  const world = new World();
  await world.own();
  const tab = world.tab('a');
  const changes = () => world.announced.filter(({ t }) => t === 'change').map(({ tables }) => tables);
  await tab.call(...put('x'));
  assert.deepEqual(changes(), [['thing']]);
  await now(tab.call('exec', ['refuse']));
  const { tx } = await tab.call('begin');
  await tab.call('exec', ['put y'], tx);
  assert.equal(changes().length, 1);
  await tab.call('rollback', [], tx);
  assert.equal(changes().length, 1);
});

test('a result of many rows comes in pieces, whole and in order', async () => {
  const world = new World();
  await world.own();
  const tab = world.tab('a');
  await tab.call('execMany', ['', Array.from({ length: 5_001 }, (_, n) => n)]);
  let messages = 0;
  const { receive } = tab;
  tab.receive = (message) => {
    messages += 1;
    receive(message);
  };
  const { rows } = await tab.call('query', ['', undefined, false]);
  assert.deepEqual(rows.map(({ what }) => Number(what)), Array.from({ length: 5_001 }, (_, n) => n));
  assert.equal(messages, 6);
});

test('calls that nobody knows of any more are said again when they are asked after', async () => {
  const world = new World();
  await world.own();
  const tab = world.tab('a');
  tab.deaf = true;
  const written = tab.call(...put('x'));
  await settle();
  tab.deaf = false;
  world.owner.receive({ t: 'nudge', tab: 'a', calls: [1] });
  assert.deepEqual(await written, { changes: 1, lastInsertId: 1 });
  assert.deepEqual(world.disk.rows, ['x']);
});

test('a statement of a transaction that is said twice ends the transaction rather than being done twice', async () => {
  const world = new World();
  await world.own();
  const tab = world.tab('a');
  const second = await tab.call('begin');
  tab.deaf = true;
  const lost = tab.call('exec', ['put y'], second.tx);
  await settle();
  tab.deaf = false;
  tab.calls.again([tab.sent.at(-1).calls[0].n]);
  assert.equal((await now(lost)).code, 'rolled-back');
  assert.equal((await now(tab.call('commit', [], second.tx))).code, 'rolled-back');
  assert.deepEqual(world.disk.rows, []);
});

test('messages that are not understood are ignored', async () => {
  const world = new World();
  await world.own();
  world.owner.receive({ t: 'calls', tab: 5, calls: 'x' });
  world.owner.receive({ t: 'nonsense' });
  world.owner.receive({ t: 'calls', tab: 'a', doneUpTo: 0, calls: [{ n: 1, what: 'nonsense', args: [] }] });
  await settle();
  assert.equal(world.died, undefined);
  assert.equal(await world.tab('b').call('insert', ['thing', { what: 'x' }]), 1);
});

test('a tab with another schema makes the database follow it, or learns why not while the others go on', async () => {
  const world = new World();
  await world.own({ schema: 'v1' });
  const tab = world.tab('a');
  const followed = () => world.core.made.filter((name) => name === 'evolve').length;
  await tab.call('open', [{ schema: 'v1' }]);
  await tab.call('open', [{ schema: undefined }]);
  assert.equal(followed(), 0);
  await tab.call('open', [{ schema: 'v2' }]);
  await tab.call('open', [{ schema: 'v2' }]);
  assert.equal(followed(), 1);
  assert.equal((await now(tab.call('open', [{ schema: 'bad' }]))).code, 'schema');
  await tab.call(...put('y'));
  assert.deepEqual(world.disk.rows, ['y']);
});

test('an owner that closes rolls back what is open and says what it did', async () => {
  const world = new World();
  await world.own();
  const tab = world.tab('a');
  const { tx } = await tab.call('begin');
  await tab.call('exec', ['put x'], tx);
  await world.owner.close();
  assert.equal(world.announced.at(-1).t, 'bye');
  const commit = tab.call('commit', [], tx);
  assert.equal(await now(commit), 'open');
  await world.own();
  assert.equal((await now(commit)).code, 'rolled-back');
  assert.deepEqual(world.disk.rows, []);
});

test('joining asks the server outside of any turn, and a lost reply is repaired by the same call', async () => {
  const world = new World();
  await world.own();
  const tab = world.tab('a');
  assert.equal((await now(tab.call('join', ['bad']))).code, 'join');
  const failed = await now(tab.call('join', ['good']));
  assert.equal(failed.code, 'unreachable');
  assert.match(failed.message, /call join again with the same code/);
  world.replies.push({ reply: { status: 200, body: new Uint8Array() } });
  assert.deepEqual(await tab.call('join', ['good']), { number: 7, name: 'x' });
  assert.deepEqual(await tab.call('join', ['good']), { number: 7, name: 'x' });
});

test('a long call that traps the module is answered before its owner ends', async () => {
  const world = new World();
  await world.own();
  const tab = world.tab('a');
  world.core.exportDatabase = () => { throw new Error('unreachable'); };
  assert.equal((await now(tab.call('export', ['database']))).code, 'bug');
  assert.equal(world.died.code, 'bug');
});
