// The fleet page: who may open it, and what an operator does with it, on a real server and real stations.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertCalm, english, go, names, openPage, Plant, refresh, signIn } from './harness/fleet.mjs';
import { shrinkage } from './harness/schema.mjs';
import { World } from './harness/world.mjs';

test('the fleet page is for operators alone, and only for a page of its own server', async (t) => {
  const world = await World.make(t, { schema: shrinkage });
  const at = (path, options) => fetch(`${world.server.url}${path}`, { redirect: 'manual', ...options });
  let token;

  await t.test('nothing is there without an operator', async () => {
    for (const path of ['/admin', '/admin/', '/admin/app.js', '/v1/admin/session']) assert.equal((await at(path)).status, 404, path);
    token = await world.server.addOperator('Анна');
    assert.match(token, /^[0-9a-f]{64}$/);
  });

  await t.test('its files are this server’s alone, and asked for again only when they changed', async () => {
    await world.until('there is an operator', async () => (await at('/admin')).status === 307);
    assert.equal((await at('/admin')).headers.get('location'), 'admin/');
    const page = await at('/admin/');
    assert.equal(page.status, 200);
    const policy = page.headers.get('content-security-policy');
    for (const part of ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'none'", "require-trusted-types-for 'script'"]) {
      assert.ok(policy.split('; ').includes(part), `${part} in ${policy}`);
    }
    assert.ok(!/unsafe|https?:|\*/.test(policy), policy);
    assert.equal(page.headers.get('x-content-type-options'), 'nosniff');
    assert.doesNotMatch(await page.text(), /https?:|style=|<script(?! type="module" src="app.js">)| on\w+=/);
    const again = await at('/admin/', { headers: { 'if-none-match': page.headers.get('etag') } });
    assert.equal(again.status, 304);
    for (const path of ['/admin/none', '/admin/../Cargo.toml', '/admin/%2e%2e/x', '/admin/app.js.gz']) assert.equal((await at(path)).status, 404, path);
    const script = await at('/admin/app.js', { headers: { 'accept-encoding': 'gzip' } });
    assert.deepEqual([script.headers.get('content-type'), script.headers.get('content-encoding')], ['text/javascript', 'gzip']);
  });

  const profile = await world.profile();
  const { tab, page } = await openPage(world, profile, english);

  await t.test('a wrong token is told, and the right one is kept where no script reads it', async () => {
    await page.getByLabel(english.token).fill('0'.repeat(64));
    await page.keyboard.press('Enter');
    await page.getByRole('alert').filter({ hasText: english.wrong }).waitFor();
    await signIn(page, english, token);
    await page.getByRole('heading', { name: english.stations, level: 1 }).waitFor();
    const cookies = await profile.context.cookies();
    assert.deepEqual(cookies.map(({ name, path, httpOnly, sameSite, secure }) => ({ name, path, httpOnly, sameSite, secure })),
      [{ name: 'tidemark-operator', path: '/', httpOnly: true, sameSite: 'Strict', secure: false }]);
    assert.notEqual(cookies[0].value, token);
    assert.equal(await page.evaluate(() => document.cookie), '');
    assert.ok(!(await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }))).includes(token));
    const begun = await at('/v1/admin/session', { method: 'POST', headers: { 'tidemark-admin': '1', 'x-forwarded-proto': 'https' }, body: JSON.stringify({ token }) });
    // That there is TLS before the server is believed of a trusted proxy alone.
    assert.match(begun.headers.get('set-cookie'), /; HttpOnly; SameSite=Strict$/);
    assert.equal(begun.headers.get('cache-control'), 'no-store');
  });

  await t.test('a page of another origin does nothing with the session, not even one whose pages may push', async () => {
    await world.server.addStation('bait');
    // Another port is the same site: the cookie is sent along, and the server has to tell.
    const evil = await profile.tab(world.app.origin);
    const tried = await evil.run(async (url) => {
      const send = (options) => fetch(`${url}/v1/admin/stations/bait/revoke`, { method: 'POST', credentials: 'include', body: '{}', ...options })
        .then(({ status, type }) => `${type} ${status}`, () => 'blocked');
      return [await send({ mode: 'no-cors' }), await send({}), await send({ headers: { 'tidemark-admin': '1' } }),
        await fetch(`${url}/v1/admin/fleet`, { credentials: 'include' }).then((answer) => answer.text(), () => 'blocked')];
    }, world.server.url);
    assert.deepEqual(tried.slice(2), ['blocked', 'blocked'], 'the page may not send the header, nor read what the cookie opens');
    await evil.run((url) => {
      const form = document.createElement('form');
      Object.assign(form, { method: 'POST', action: `${url}/v1/admin/stations/bait/revoke` });
      document.body.append(form);
      form.submit();
    }, world.server.url);
    await evil.page.waitForURL(/revoke$/);
    assert.match(await evil.page.evaluate(() => document.body.innerText), /forbidden/);
    assert.deepEqual(await world.upstream.query('SELECT revoked_at FROM tidemark.station'), [{ revoked_at: null }]);
    assert.equal(await evil.page.evaluate(async (url) => {
      const frame = document.createElement('iframe');
      frame.src = `${url}/admin/`;
      document.body.append(frame);
      await new Promise((loaded) => { frame.onload = loaded; });
      try { return frame.contentDocument?.title ?? 'closed'; } catch { return 'closed'; }
    }, world.server.url), 'closed');
    await evil.close();
  });

  await t.test('when the session ends the page asks for the token, and nothing on it is lost', async () => {
    await page.getByRole('searchbox').fill('ba');
    await world.upstream.query('DELETE FROM tidemark.session');
    await refresh(page);
    const dialog = page.getByRole('dialog', { name: english.ended });
    await dialog.getByRole('button', { name: 'Cancel' }).click();
    await page.getByRole('alert').filter({ hasText: english.ended }).waitFor();
    assert.deepEqual(await names(page), ['bait'], 'what was there stays, also when one does not sign in');
    await page.locator('main').getByRole('button', { name: english.signIn, exact: true }).click();
    await dialog.getByLabel(english.token).fill('nonsense');
    await page.keyboard.press('Enter');
    await dialog.getByRole('alert').filter({ hasText: english.wrong }).waitFor();
    await dialog.getByLabel(english.token).fill(token);
    await page.keyboard.press('Enter');
    await dialog.waitFor({ state: 'detached' });
    assert.equal(await page.getByRole('searchbox').inputValue(), 'ba');
    assert.deepEqual(await names(page), ['bait']);
  });

  await t.test('signing out ends the session, and so does revoking the operator', async () => {
    await page.getByRole('button', { name: english.signOut }).click();
    await page.getByLabel(english.token).waitFor();
    assert.deepEqual(await profile.context.cookies(), []);
    await world.server.addOperator('root');
    await signIn(page, english, token);
    await world.server.revokeOperator('Анна');
    await refresh(page);
    await page.getByRole('dialog', { name: english.ended }).or(page.getByRole('alert')).first().waitFor();
    assert.equal((await at('/v1/admin/fleet', { headers: { authorization: `Bearer ${token}` } })).status, 403);
  });
  await assertCalm(tab);
});

test('an operator invites, watches, settles rejects, renames, rotates and revokes', async (t) => {
  const world = await World.make(t, { schema: shrinkage });
  const token = await world.server.addOperator('Анна');
  const profile = await world.profile();
  const { tab, page } = await openPage(world, profile, english);
  const button = (name, within = page) => within.getByRole('button', { name, exact: true });
  const dialog = page.getByRole('dialog');
  const plant = await Plant.make(world, 'north');
  await signIn(page, english, token);

  await t.test('the first station is invited, and joins with the code that is shown', async () => {
    await page.getByRole('heading', { name: 'No station yet' }).waitFor();
    await button('Invite the first station').click();
    await dialog.getByLabel('Name').fill('  north ');
    await dialog.getByLabel('Address of the server').fill('nonsense');
    await button('Make a code', dialog).click();
    await dialog.getByRole('alert').filter({ hasText: 'begins with http' }).waitFor();
    assert.equal(await dialog.getByLabel('Name').inputValue(), '  north ', 'what was typed stays');
    await dialog.getByLabel('Address of the server').fill(world.server.url);
    await button('Make a code', dialog).click();
    const code = await dialog.getByLabel('Join code', { exact: true }).inputValue();
    assert.match(code, /^tide1-/);
    assert.ok((await dialog.getByRole('link', { name: 'Field notebook' }).getAttribute('href')).endsWith(`/notebook/#join=${code}`));
    assert.ok((await dialog.getByRole('img', { name: /QR code/ }).locator('path').getAttribute('d')).length > 1000);
    await profile.context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: world.server.url });
    await button('Copy the code', dialog).click();
    await dialog.getByRole('status').filter({ hasText: 'Copied' }).waitFor();
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), code);
    await button('Done', dialog).click();
    await page.getByRole('row', { name: /north.*invited.*code until/ }).waitFor();
    assert.match(await plant.tidemark('join', code), /as station 1 "north"/);
    await refresh(page);
    await page.getByRole('row', { name: /north no\. 1 active/ }).waitFor();
  });

  await t.test('a name that is taken is told in words', async () => {
    await button('Invite a station').click();
    await dialog.getByLabel('Name').fill('north');
    await page.keyboard.press('Enter');
    await dialog.getByRole('alert').filter({ hasText: 'Another station has this name.' }).waitFor();
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
  });

  await t.test('its page has its pushes and its rejects with their values', async () => {
    await plant.write(
      "INSERT INTO calculation_data (nomenclature_id, initial_balance, calculation_date) VALUES (77, 1.25, '2025-01-15 08:00:00')",
      "INSERT INTO calculation_data (nomenclature_id, initial_balance, calculation_date) VALUES (78, 2.5, '2025-01-16 08:00:00')",
    );
    assert.match(await plant.tidemark('push'), /2 of them rejected/);
    await page.getByRole('link', { name: 'north' }).first().click();
    await page.getByRole('heading', { name: 'north no. 1', level: 1 }).waitFor();
    // What came in is written a moment after it was applied.
    await world.until('the push is shown', async () => {
      await refresh(page);
      return (await page.locator('.pushes tbody tr').count()) === 1 && (await page.locator('.rejects tbody tr').count()) === 2;
    });
    const cells = await page.locator('.pushes tbody td').allInnerTexts();
    assert.deepEqual(cells.slice(0, 3), ['1–2', '0', '2']);
    await button('Values of calculation_data, change 1').click();
    const image = page.locator('.image');
    await image.getByText('2025-01-15 08:00:00').waitFor();
    assert.match(await image.innerText(), /nomenclature_id\s+4294967373 \(77 at the station\)/);
    assert.match(await image.innerText(), /initial_balance\s+1\.25/);
  });

  await t.test('a reject is replayed in vain, replayed once its reason is gone, and another one is discarded', async () => {
    const choose = (seq) => page.getByRole('checkbox', { name: `Choose calculation_data, change ${seq}` });
    await choose(1).check();
    await button('Replay').click();
    await page.locator('.results').getByText('Still rejected: 1').waitFor();
    assert.match(await page.locator('.results li').innerText(), /calculation_data, change 1: The row it refers to is not here\./);
    await plant.write("INSERT INTO nomenclature (id, name) VALUES (77, 'ЛЕЩ')");
    await plant.tidemark('push');
    await choose(1).check();
    await button('Replay').click();
    await page.locator('.results').getByText('Replayed: 1').waitFor();
    assert.deepEqual(await world.upstream.query('SELECT nomenclature_id::bigint - (station::bigint << 32) AS of, initial_balance FROM shrinkage.calculation_data'), [{ of: '77', initial_balance: 1.25 }]);
    await choose(2).check();
    await button('Discard …').click();
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Cancel', 'what cannot be taken back is not under the finger');
    await dialog.getByLabel('Reason').fill('entered twice');
    await button('Discard', dialog).click();
    await dialog.waitFor({ state: 'detached' });
    await page.locator('.results').getByText('Discarded: 1').waitFor();
    assert.deepEqual(await world.upstream.query('SELECT seq, state FROM tidemark.rejects ORDER BY seq'), [{ seq: '1', state: 'replayed' }, { seq: '2', state: 'discarded' }]);
  });

  await t.test('a date that is right in spite of its looks is taken as it is', async () => {
    await plant.write("INSERT INTO calculation_data (nomenclature_id, initial_balance, calculation_date) VALUES (77, 3, '2062-01-15 08:00:00')");
    await plant.tidemark('push');
    await go(page, '#/rejects?code=clock');
    await page.getByRole('checkbox', { name: /Choose all|Choose 1 shown/ }).check();
    await button('Replay').click();
    await dialog.getByRole('checkbox', { name: /dates are right/ }).check();
    await button('Replay', dialog).click();
    await page.locator('.results').getByText('Replayed: 1').waitFor();
    await page.getByText('No rejected change is like this.').waitFor();
    assert.equal(await world.upstream.count('calculation_data'), 2);
  });

  await t.test('it gets another name, another token, and then none', async () => {
    await go(page, '#/stations/1');
    await button('Rename').click();
    await dialog.getByLabel('Name').fill('Север');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Север no. 1', level: 1 }).waitFor();
    await page.getByRole('status').filter({ hasText: 'another name' }).waitFor();

    await button('New token').click();
    await dialog.getByText('The token of Север ends now').waitFor();
    await button('End the token, make a code', dialog).click();
    const code = await dialog.getByLabel('Join code', { exact: true }).inputValue();
    await assert.rejects(plant.tidemark('push'), /token/);
    await button('Done', dialog).click();
    await page.getByText('sends nothing until it has taken its new code').waitFor();
    await plant.tidemark('join', code);
    await plant.tidemark('push');

    await button('Revoke').click();
    const said = await dialog.locator('li').allInnerTexts();
    assert.equal(said.length, 4);
    assert.match(said.join(' '), /token ends at once.*stays? in its file.*rows stay here.*lets it in again/);
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    assert.equal(await page.evaluate(() => document.activeElement.id), 'revoke', 'the focus is where it was');
    await plant.tidemark('push');
    await button('Revoke').click();
    await button('Revoke', dialog).click();
    await page.locator('.head .badge').filter({ hasText: 'revoked' }).waitFor();
    await assert.rejects(plant.tidemark('push'), /revoked/);
    await button('Let in again').waitFor();
  });

  await t.test('every act stands there with who did it', async () => {
    await go(page, '#/audit');
    const acts = (await page.locator('.acts tbody tr').allInnerTexts()).map((text) => text.split('\t').slice(1, 3).join(': '));
    assert.deepEqual(acts, ['revoked a station', 'ended a token, made a code', 'renamed a station', 'replayed rejects', 'discarded rejects', 'replayed rejects',
      'replayed rejects', 'invited a station', 'signed in'].map((act) => `Анна: ${act}`).concat('command line: added an operator'));
  });

  await t.test('what came in is drawn, and stands there as a table', async () => {
    await go(page, '#/ingest');
    await world.until('all came in', async () => {
      await refresh(page);
      return (await page.locator('.facts dd').first().innerText()) === '1' && (await page.locator('.facts dd').nth(1).innerText()) === '3';
    }).catch(async () => assert.fail(await page.locator('.facts').innerText()));
    assert.match(await page.getByRole('img').last().getAttribute('aria-label'), /^Changes over the last 24 hours: \d+, 3 of them rejected$/);
    await page.getByText('As a table').click();
    assert.ok((await page.locator('.chart + details tbody tr').count()) >= 1);
  });

  await t.test('the database tells its size, its hypertables and that nobody made a backup', async () => {
    await go(page, '#/database');
    const text = await page.locator('main').innerText();
    for (const part of [/No backup is known/, /PostgreSQL \d+/, /TimescaleDB\s+2\.\d+/, /shrinkage\.calculation_data|calculation_data/, /Takes writes\s+yes/]) assert.match(text, part);
  });
  await assertCalm(tab);
});
