/** Tabs and owners without a browser: messages are copied as between contexts, and arrive at once. */
import { Calls } from '../../src/calls.js';
import { Owner } from '../../src/owner.js';
import { FakeClock, settle } from './clock.js';
import { FakeCore, newDisk } from './core.js';

export class World {
  clock = new FakeClock();
  disk = newDisk();
  tabs = new Map();
  announced = [];
  watched = new Map();
  owner;
  core;
  died;
  replies = [];
  requests = [];
  #epoch = 0;

  /** Another owner takes over; the one before is not asked. */
  async own({ manual = false, prepare = () => {}, schema } = {}) {
    for (const tab of this.tabs.values()) tab.calls.lost();
    this.core = new FakeCore(this.disk);
    prepare(this.core);
    const epoch = String(++this.#epoch);
    const alive = () => this.#epoch === Number(epoch);
    this.owner = new Owner({
      core: this.core,
      schema,
      server: undefined,
      manual,
      kind: 'opfs',
      epoch,
      send: (id, message) => { if (alive()) this.tabs.get(id)?.receive(structuredClone(message)); },
      announce: (message) => { if (alive()) this.#announce(structuredClone(message)); },
      farewell: (request) => { this.farewell = request; },
      watch: (id, gone) => {
        this.watched.set(id, gone);
        return () => this.watched.delete(id);
      },
      die: (error) => { this.died = error; },
      clock: this.clock,
      isOnline: () => true,
      exchange: async (request) => {
        this.requests.push(request);
        return this.replies.shift() ?? { failure: { kind: 'unreached', message: 'no network' } };
      },
    });
    this.owner.start();
    await settle();
  }

  #announce(message) {
    this.announced.push(message);
    if (message.t === 'hello') for (const tab of this.tabs.values()) tab.calls.owned();
  }

  /** A tab; `deaf`: the owner's answers do not reach it. */
  tab(id) {
    const tab = { id, deaf: false, sent: [], calls: undefined, receive: (message) => {
      if (tab.deaf) return;
      if (message.t === 'answers') tab.calls.answered(message.answers);
      if (message.t === 'unknown') tab.calls.again(message.calls);
    } };
    tab.calls = new Calls((calls, doneUpTo) => {
      const message = structuredClone({ t: 'calls', tab: id, doneUpTo, calls });
      tab.sent.push(message);
      this.owner.receive(message);
    }, this.clock.now);
    tab.call = (what, args = [], tx = undefined) => tab.calls.call(what, args, tx);
    this.tabs.set(id, tab);
    if (this.owner) tab.calls.owned();
    return tab;
  }
}

/** What a promise has come to by now. */
export async function now(promise) {
  let state = 'open';
  promise.then((value) => { state = { value }; }, (error) => { state = { code: error.code, message: error.message }; });
  await settle();
  return state;
}

export { settle };
