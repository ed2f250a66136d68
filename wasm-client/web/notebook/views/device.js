/** What is behind the light: the answer at length, sending, storage, taking data along, and how the page looks. */
import { el } from '../dom.js';
import { tellFailure } from '../failure.js';
import { format, onLanguage, say, t } from '../i18n/index.js';
import { icon } from '../icons.js';
import { lightOf } from '../light.js';
import { recall, remember } from '../settings.js';

const facts = pairs => pairs.filter(([, value]) => value !== null).map(([key, value]) => el('div', {}, el('dt', {}, t(key)), el('dd', {}, value)));

export function deviceView({ db, join, rejects }) {
  const $ = id => document.getElementById(id);
  const dialog = $('device');
  let status = null;

  function render() {
    if (!status || !dialog.open) return;
    const { station, server, sync, storage, role } = status;
    const answer = lightOf(status);
    const todo = sync.state === 'stopped' && sync.stop && (station || sync.stop.kind !== 'not-joined') ? t(`stop.todo.${sync.stop.kind}`) : null;
    fillIfChanged($('device-answer'), [answer, todo], () => [
      el('span', { class: 'lamp' }, icon(answer.icon)),
      el('div', {}, el('strong', {}, say(answer.headline)), answer.details.map(words => el('p', {}, say(words))), todo && el('p', { class: 'todo' }, todo)),
    ]);
    $('device-answer').dataset.level = answer.level;

    const error = sync.lastError && (sync.lastContactAt === null || sync.lastError.at > sync.lastContactAt) ? sync.lastError : null;
    fillIfChanged($('send-facts'), [station, server, sync.lastContactAt, error], () => facts([
      ['send.station', station && t('send.stationValue', station)],
      ['send.server', server],
      ['send.contact', sync.lastContactAt === null ? t('send.never') : format.moment(new Date(sync.lastContactAt))],
      ['send.error', error && `${format.moment(new Date(error.at))}: ${t(`send.failed.${error.kind ?? 'unknown'}`)}`],
    ]));
    $('send-now').hidden = station === null;

    const { kind, persisted, usageBytes, quotaBytes } = storage;
    fillIfChanged($('storage-facts'), [kind, persisted, Math.round((usageBytes ?? 0) / 1e5), quotaBytes, role], () => facts([
      ['storage.kind', t(`storage.${kind}`)],
      ['storage.protected', kind === 'memory' ? null : t(persisted === null ? 'storage.unknown' : persisted ? 'storage.persisted' : 'storage.notPersisted')],
      ['storage.use', usageBytes === null || quotaBytes === null ? null : t('storage.useOf', { used: format.bytes(usageBytes), quota: format.bytes(quotaBytes) })],
      ['storage.tabs', t(`storage.${role}`)],
    ]));
    $('storage-protect').hidden = kind === 'memory' || persisted !== false;
    join.show(status);
    rejects.show(status);
  }

  function fillIfChanged(node, what, make) {
    const print = JSON.stringify(what) + document.documentElement.lang;
    if (node.dataset.print === print) return;
    node.dataset.print = print;
    node.replaceChildren(...make());
  }

  /** Runs what a button is for, and says beside it what came of it. */
  function button(id, outcomeId, work) {
    $(id).addEventListener('click', async () => {
      const outcome = $(outcomeId);
      if ($(id).getAttribute('aria-disabled')) return;
      $(id).setAttribute('aria-disabled', 'true');
      outcome.classList.remove('bad');
      outcome.textContent = '';
      try {
        const { text, bad = false } = await work(outcome);
        outcome.classList.toggle('bad', bad);
        outcome.textContent = text;
      } catch (error) {
        outcome.classList.add('bad');
        tellFailure(outcome, error);
      } finally {
        $(id).removeAttribute('aria-disabled');
      }
    });
  }

  button('send-now', 'send-outcome', async outcome => {
    outcome.textContent = t('send.busy');
    const { outcome: how, changes, stop } = await db.push();
    if (how === 'unreachable') return { text: t('send.unreachable'), bad: true };
    if (how === 'stopped') return { text: `${t('send.stopped')} ${stop ? `${t(`stop.${stop.kind}`)}. ${t(`stop.todo.${stop.kind}`)}` : ''}`, bad: true };
    return { text: changes === 0 ? t('send.nothing') : t('send.done', { n: changes }) };
  });

  // Installed, the browser gives the notebook its word more readily.
  let installing = null;
  addEventListener('beforeinstallprompt', event => {
    event.preventDefault();
    installing = event;
    $('storage-install').hidden = false;
  });
  addEventListener('appinstalled', () => { $('storage-install').hidden = true; });
  button('storage-install', 'storage-outcome', async () => {
    await installing.prompt();
    const { outcome } = await installing.userChoice;
    if (outcome !== 'accepted') return { text: '' };
    $('storage-install').hidden = true;
    return { text: t((await db.persist()) ? 'storage.granted' : 'storage.installed') };
  });

  button('storage-protect', 'storage-outcome', async () => ((await db.persist()) ? { text: t('storage.granted') } : { text: t('storage.refused'), bad: true }));

  async function download(what, ending) {
    const blob = await db.export({ what });
    if (!blob || blob.size === 0) return { text: t('export.nothing') };
    const file = `${fileSafe(status?.station?.name ?? 'notebook')}-${stamp(new Date())}.${ending}`;
    const url = URL.createObjectURL(blob);
    el('a', { href: url, download: file }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    return { text: t('export.done', { file }) };
  }
  button('export-bundle', 'export-outcome', async () => {
    if (!status?.station) return { text: t('export.notJoined'), bad: true };
    return status.pending === 0 ? { text: t('export.nothing') } : download('bundle', 'bundle');
  });
  button('export-database', 'export-outcome', () => download('database', 'db'));

  for (const radio of $('themes').querySelectorAll('input')) {
    radio.checked = radio.value === (recall('theme') ?? 'auto');
    radio.addEventListener('change', () => setTheme(radio.value));
  }
  $('device-close').addEventListener('click', () => dialog.close());
  // A touch beside the sheet puts it away.
  dialog.addEventListener('click', event => { if (event.target === dialog) dialog.close(); });
  onLanguage(render);

  return {
    show(next) { status = next; render(); },
    open() {
      for (const node of dialog.querySelectorAll('.outcome')) node.textContent = '';
      if (!dialog.open) dialog.showModal();
      $('device-sheet').scrollTo(0, 0);
      render();
    },
  };
}

function setTheme(theme) {
  remember('theme', theme === 'auto' ? null : theme);
  dispatchEvent(new CustomEvent('notebook-theme', { detail: theme }));
}

/** Local time for a file's name: `20251125-1405`. */
function stamp(date) {
  const two = number => String(number).padStart(2, '0');
  return `${date.getFullYear()}${two(date.getMonth() + 1)}${two(date.getDate())}-${two(date.getHours())}${two(date.getMinutes())}`;
}

const fileSafe = name => name.replace(/[^\p{L}\p{N}_-]+/gu, '-').slice(0, 60) || 'notebook';
