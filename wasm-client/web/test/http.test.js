import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { exchange, fetchOptions } from '../src/http.js';

const never = new AbortController().signal;

/** A server with one answer; ends with the test. */
async function server(t, answer) {
  const seen = [];
  const listening = createServer((request, response) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => {
      seen.push({ method: request.method, headers: request.headers, body: Buffer.concat(parts) });
      answer(request, response);
    });
  }).listen(0, '127.0.0.1');
  await new Promise((resume) => { listening.once('listening', resume); });
  t.after(() => {
    listening.closeAllConnections();
    listening.close();
  });
  return { seen, url: `http://127.0.0.1:${listening.address().port}/v1/push` };
}

const post = (url, more = {}) => ({ id: 1, method: 'POST', url, token: 'ab12', contentType: 'application/x-frame', body: new Uint8Array([1, 2, 3]), timeoutMs: 10_000, ...more });

test('sends the request as the engine made it, and gives the reply whatever its status', async (t) => {
  const { seen, url } = await server(t, (_, response) => response.writeHead(503, { 'retry-after': '7' }).end('busy'));
  const { reply } = await exchange(post(url), never);
  assert.deepEqual([reply.status, reply.retryAfter, Buffer.from(reply.body).toString()], [503, '7', 'busy']);
  const [{ method, headers, body }] = seen;
  assert.deepEqual([method, headers.authorization, headers['content-type'], [...body]], ['POST', 'Bearer ab12', 'application/x-frame', [1, 2, 3]]);
});

test('no header goes that a server of another version may not allow to a page', () => {
  const { headers } = fetchOptions(post('https://upstream.example/v1/push', { schema: 'cd34' }));
  assert.deepEqual(Object.keys(headers), ['authorization', 'content-type']);
});

test('a redirect is an answer, and is not followed', async (t) => {
  const { seen, url } = await server(t, (_, response) => response.writeHead(302, { location: '/elsewhere' }).end());
  const { reply } = await exchange({ id: 1, method: 'GET', url, body: new Uint8Array(), timeoutMs: 10_000 }, never);
  assert.equal(reply.status, 302);
  assert.equal(seen.length, 1);
});

test('silence is a timeout', async (t) => {
  const { url } = await server(t, () => {});
  const { failure } = await exchange(post(url, { timeoutMs: 50 }), never);
  assert.equal(failure.kind, 'timeout');
  assert.match(failure.message, /did not answer in time/);
});

test('so is a body that stops in the middle', async (t) => {
  const { url } = await server(t, (_, response) => response.writeHead(200, { 'content-length': '9' }).write('half'));
  const { failure } = await exchange(post(url, { timeoutMs: 200 }), never);
  assert.equal(failure.kind, 'timeout');
});

test('a body without end is given up at the bound', async (t) => {
  const { url } = await server(t, (_, response) => {
    response.writeHead(200);
    const chunk = Buffer.alloc(1 << 20);
    const more = () => { while (response.write(chunk)); };
    response.on('drain', more);
    more();
  });
  const { failure } = await exchange(post(url), never);
  assert.equal(failure.kind, 'broken');
  assert.match(failure.message, /more than 16777216 bytes/);
});

test('nobody there names the server, and is asked again soon by whoever had little to send', async () => {
  const kindOf = async (more) => (await exchange(post('http://127.0.0.1:1/v1/push', more), never)).failure.kind;
  assert.equal(await kindOf({ method: 'GET' }), 'unreached');
  assert.equal(await kindOf({ body: new Uint8Array(1024) }), 'unreached', 'a usual batch of a page');
  assert.equal(await kindOf({ body: new Uint8Array(1025) }), 'broken');
  const { failure } = await exchange(post('http://127.0.0.1:1/v1/push'), never);
  assert.match(failure.message, /^cannot reach the server at http:\/\/127\.0\.0\.1:1: /);
});

test('an owner that ends does not wait for an answer', async (t) => {
  const { url } = await server(t, () => {});
  const end = new AbortController();
  const outcome = exchange(post(url), end.signal);
  end.abort();
  assert.equal((await outcome).failure.kind, 'unreached');
});
