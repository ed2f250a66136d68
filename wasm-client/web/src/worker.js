/**
 * The worker of one tab. It waits for the lock; with it, it owns the database until it ends. Only wires: what an owner does is in owner.js.
 */

import init, { Core } from './tidemark_wasm.js';
import { TidemarkError, isExpected, toFailure } from './errors.js';
import { openCore, storageKind } from './opening.js';
import { Owner } from './owner.js';
import { isOurs, namesOf, newId, sealed } from './protocol.js';

/** @type {import('./protocol.js').Start} */
let start;
/** @type {Owner | undefined} */
let owner;
/** The page has the database open already: a schema that cannot be followed does not keep it from going on. */
let live = false;
/** @type {BroadcastChannel[]} */
const channels = [];

/** @param {object} message */
const toPage = (message) => postMessage(sealed(message));

addEventListener('message', ({ data }) => {
  if (!isOurs(data)) return;
  if (data.t === 'start') {
    start = data;
    run().catch((error) => end({ t: 'failed', error: toFailure(error) }));
  } else if (data.t === 'live') {
    live = true;
  } else if (data.t === 'close') {
    giveUp();
  } else {
    if (data.t === 'calls') ownTab = data.tab;
    owner?.receive(data);
  }
});
addEventListener('unhandledrejection', ({ reason }) => end({ t: 'died', error: toFailure(reason) }));
for (const what of /** @type {const} */ (['online', 'offline'])) addEventListener(what, () => owner?.receive({ t: 'hint', what }));

/** @type {string | undefined} */
let ownTab;

async function run() {
  const kind = await storageKind(start.memory);
  await load();
  toPage({ t: 'loaded' });
  if (start.solo) {
    await own(kind);
    return;
  }
  // Held until this worker ends.
  await navigator.locks.request(namesOf(start.channel).lock, async () => {
    await own(kind);
    await new Promise(() => {});
  });
}

async function load() {
  try {
    await init(start.wasm === undefined ? undefined : { module_or_path: start.wasm });
  } catch (error) {
    throw new TidemarkError('load', `tidemark_wasm_bg.wasm could not be loaded: ${error instanceof Error ? error.message : error}; it must lie beside worker.js (or where `
      + "`wasm` says), and a Content-Security-Policy must allow script-src 'wasm-unsafe-eval'");
  }
}

/** @param {'opfs' | 'memory'} kind */
async function own(kind) {
  const names = namesOf(start.channel);
  const all = new BroadcastChannel(names.channel);
  channels.push(all);
  const epoch = newId();
  toPage({ t: 'opening', epoch });
  all.postMessage(sealed({ t: 'opening', epoch }));
  const { schema, server } = start;
  const core = await open(kind, schema);
  // From here on nobody else has the files, so no call that arrives can still be done by somebody else.
  const calls = new BroadcastChannel(names.ownerChannel);
  channels.push(calls);
  /** @type {Map<string, BroadcastChannel>} */
  const tabs = new Map();
  owner = new Owner({
    core,
    schema,
    server,
    kind,
    manual: start.manual,
    epoch,
    send: (tab, message) => {
      if (tab === ownTab) {
        toPage(message);
        return;
      }
      let channel = tabs.get(tab);
      if (!channel) tabs.set(tab, channel = new BroadcastChannel(names.tabChannel(tab)));
      channel.postMessage(sealed(message));
    },
    announce: (message) => {
      toPage(message);
      all.postMessage(sealed(message));
    },
    farewell: (request) => toPage({ t: 'farewell', request }),
    watch: (tab, gone) => {
      if (start.solo) return () => {};
      const stop = new AbortController();
      navigator.locks.request(names.tabLock(tab), { mode: 'shared', signal: stop.signal }, () => {
        tabs.get(tab)?.close();
        tabs.delete(tab);
        gone();
      }).catch(() => {});
      return () => stop.abort();
    },
    die: (error) => end({ t: 'died', error }),
    storage: globalThis.navigator?.storage,
    clock: { now: () => Date.now(), setTimeout: setTimeout.bind(globalThis), clearTimeout: clearTimeout.bind(globalThis) },
  });
  all.onmessage = calls.onmessage = ({ data }) => { if (isOurs(data)) owner?.receive(data); };
  owner.start();
}

/**
 * @param {'opfs' | 'memory'} kind
 * @param {string | undefined} schema
 */
async function open(kind, schema) {
  const { name, server } = start;
  try {
    return await openCore(Core, { name, schema, server }, kind);
  } catch (error) {
    // A newer page has moved the schema on while this tab was open.
    if (!live || schema === undefined || !isExpected(error) || error.code !== 'schema') throw error;
    return openCore(Core, { name, server }, kind);
  }
}

async function giveUp() {
  await owner?.close().catch(() => {});
  end({ t: 'closed' });
}

/**
 * Lock, files and channels go with the worker.
 * @param {import('./protocol.js').Life} life
 */
function end(life) {
  owner = undefined;
  for (const channel of channels) channel.close();
  toPage(life);
  globalThis.close();
}
