// Pages of another origin: allowed ones may use the server and read its errors, others may not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { World } from './harness/world.mjs';

const post = async (url) => {
  try {
    const answer = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/octet-stream', authorization: 'Bearer nobody' }, body: 'x' });
    return { status: answer.status, type: answer.headers.get('content-type'), problem: await answer.json() };
  } catch (error) {
    return { failed: String(error) };
  }
};

test('an allowed origin pushes and reads what the server says is wrong', async (t) => {
  const world = await World.make(t);
  const profile = await world.profile();
  const tab = await profile.tab(world.app.origin, world.options());
  assert.notEqual(new URL(world.server.url).origin, world.app.origin);
  const refused = await tab.run(post, `${world.server.url}/v1/push`);
  assert.equal(refused.status, 401);
  assert.match(refused.type, /^application\/problem\+json/);
  assert.ok(refused.problem.type && refused.problem.detail, JSON.stringify(refused.problem));
  await tab.db('insert', 'site', { name: 'издалека' });
  await tab.db('join', await world.server.addStation('a'));
  await tab.statusThat((status) => status.safeToLeave);
  assert.equal(await world.upstream.count('site'), 1);
});

test('an origin that is not allowed is refused by the browser, and the station says what to do', async (t) => {
  const world = await World.make(t);
  const stranger = await world.otherApp();
  const profile = await world.profile();
  const tab = await profile.tab(stranger.origin, world.options());
  assert.match((await tab.run(post, `${world.server.url}/v1/push`)).failed, /Failed to fetch/);
  await tab.db('insert', 'site', { name: 'чужой' });
  const code = await world.server.addStation('a');
  await assert.rejects(tab.db('join', code), { code: 'unreachable' });
  assert.equal((await tab.db('status')).pending, 1);
  // The code was not used up by the attempt.
  const allowed = await profile.tab(world.app.origin, world.options());
  await allowed.db('join', code);
});

test('an answer is marked for the origins of the list and no other', async (t) => {
  const world = await World.make(t, { allow: ['https://app.example'] });
  const preflight = (origin) => fetch(`${world.server.url}/v1/push`, {
    method: 'OPTIONS', headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization,content-type' },
  });
  for (const origin of ['https://app.example', world.app.origin]) {
    const { headers } = await preflight(origin);
    assert.equal(headers.get('access-control-allow-origin'), origin);
    assert.match(headers.get('vary') ?? '', /origin/i);
    assert.match(headers.get('access-control-allow-headers') ?? '', /authorization/i);
    assert.equal(headers.get('access-control-allow-credentials'), null);
  }
  for (const origin of ['https://evil.example', 'https://app.example.evil.example', 'http://app.example', 'null']) {
    assert.equal((await preflight(origin)).headers.get('access-control-allow-origin'), null, origin);
  }
});
