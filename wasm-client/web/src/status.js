/** What a person asks: is it safe to leave? Put together from the engine, the sync and the browser's storage. */

/** How often the status is told at most. */
const TELL_MS = 100;
/** How long numbers of the storage count as known. */
const STORAGE_MS = 10_000;
/** Less room than this is little. */
const ROOM_BYTES = 32 << 20;
/** So is a store that is so full. */
const FULL = 0.95;
/** After a write found no room, that counts for so long. Browsers tell pages more room than there is, so as not to tell them apart. */
const WAS_FULL_MS = 60_000;
/** How long the first status waits for what the browser says about its storage. */
const FIRST_MS = 300;
const NOT_JOINED = { state: /** @type {const} */ ('not-joined'), retryAt: null, stop: null };

/**
 * @typedef {import('./index.js').Status} PublicStatus
 * @typedef {Omit<PublicStatus, 'role'>} OwnersStatus
 * @typedef {Pick<StorageManager, 'estimate' | 'persisted'>} StorageManagerLike
 *
 * @typedef {object} World
 * @property {() => Promise<import('./core.js').CoreStatus>} read
 * @property {(pending: number) => Pick<PublicStatus['sync'], 'state' | 'retryAt' | 'stop'> & { error: PublicStatus['sync']['lastError'], failed: import('./index.js').FailureKind | null }} sync
 * @property {'opfs' | 'memory'} kind
 * @property {StorageManagerLike | undefined} storage
 * @property {(status: OwnersStatus) => void} announce
 * @property {(error: unknown) => void} failed
 * @property {import('./sync.js').Clock} clock
 */

export class Status {
  /** @type {PublicStatus['storage']} */
  #storage;
  #storageAt = Number.NEGATIVE_INFINITY;
  /** Somebody has waited for it. */
  #waited = false;
  /** @type {Promise<void> | undefined} */
  #asking;
  /** @type {ReturnType<typeof setTimeout> | undefined} while a write that found no room counts */
  #wasFull;
  /** @type {string | undefined} */
  #told;
  #toldAt = Number.NEGATIVE_INFINITY;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #reading = false;
  #again = false;
  #ended = false;
  #world;

  /** @param {World} world */
  constructor(world) {
    this.#world = world;
    this.#storage = withRisk({ kind: world.kind, persisted: null, usageBytes: null, quotaBytes: null });
  }

  /** Something changed that it may tell of. */
  touch() {
    if (this.#ended || this.#timer !== undefined) return;
    if (this.#reading) {
      this.#again = true;
      return;
    }
    const wait = this.#toldAt + TELL_MS - this.#world.clock.now();
    // A clock that was set back must not silence it.
    if (wait > 0 && wait <= TELL_MS) {
      this.#timer = this.#world.clock.setTimeout(() => {
        this.#timer = undefined;
        this.#tell();
      }, wait);
    } else {
      this.#tell();
    }
  }

  async #tell() {
    this.#reading = true;
    this.#again = false;
    try {
      const status = await this.now();
      const text = JSON.stringify(status);
      if (!this.#ended && text !== this.#told) {
        this.#told = text;
        this.#world.announce(status);
      }
    } catch (error) {
      this.#world.failed(error);
    }
    this.#toldAt = this.#world.clock.now();
    this.#reading = false;
    if (this.#again) this.touch();
  }

  /** @returns {Promise<OwnersStatus>} */
  async now() {
    const core = await this.#world.read();
    if (Math.abs(this.#world.clock.now() - this.#storageAt) >= STORAGE_MS) {
      const known = this.refreshStorage();
      if (this.#storageAt === Number.NEGATIVE_INFINITY) await this.#soon(known);
    }
    const { error, failed, ...sync } = this.#world.sync(core.pending);
    const joined = (core.number ?? null) !== null;
    const lastError = core.lastError === null || core.lastError === undefined ? null : { message: core.lastError, at: core.lastErrorMs ?? 0, kind: failed };
    return {
      safeToLeave: core.pending === 0 && core.rejects === 0 && core.state !== 'forked' && joined,
      pending: core.pending,
      oldestPendingAt: core.oldestPendingMs ?? null,
      lastSeq: core.lastSeq,
      tidemark: core.tidemark,
      rejects: core.rejects,
      station: joined ? { number: /** @type {number} */ (core.number), name: core.name ?? '' } : null,
      server: core.server ?? null,
      sync: { ...sync, ...(!joined && NOT_JOINED), lastContactAt: core.lastContactMs ?? null, lastError: error ?? lastError },
      storage: this.#storage,
    };
  }

  /** Asks the browser how much room there is; tells when that is known. */
  refreshStorage() {
    this.#asking ??= this.#askStorage().finally(() => { this.#asking = undefined; });
    return this.#asking;
  }

  /** Waits for what the browser says of its storage, but not for long.
   * @param {Promise<void>} known
   */
  async #soon(known) {
    await Promise.race([known, new Promise((late) => { this.#world.clock.setTimeout(() => late(undefined), FIRST_MS); })]);
  }

  /** Free room, in bytes, as far as the browser said; null when it did not. Who asks first waits for that, but not for long. */
  async free() {
    if (!this.#waited) {
      this.#waited = true;
      if (this.#storageAt === Number.NEGATIVE_INFINITY) await this.#soon(this.refreshStorage());
    }
    const { usageBytes, quotaBytes } = this.#storage;
    return usageBytes === null || quotaBytes === null ? null : Math.max(quotaBytes - usageBytes, 0);
  }

  async #askStorage() {
    const { storage, kind, clock } = this.#world;
    const [estimate, persisted] = await Promise.all([
      Promise.resolve(storage?.estimate()).catch(() => undefined),
      Promise.resolve(storage?.persisted()).catch(() => undefined),
    ]);
    if (this.#ended) return;
    this.#storageAt = clock.now();
    this.#storage = withRisk({
      kind,
      persisted: kind === 'memory' ? null : persisted ?? null,
      usageBytes: estimate?.usage ?? null,
      quotaBytes: estimate?.quota ?? null,
    }, this.#wasFull !== undefined);
    this.touch();
  }

  /** A write found no room. */
  full() {
    const { clock } = this.#world;
    clock.clearTimeout(/** @type {any} */ (this.#wasFull));
    this.#wasFull = clock.setTimeout(() => {
      this.#wasFull = undefined;
      this.refreshStorage();
    }, WAS_FULL_MS);
    this.refreshStorage();
  }

  end() {
    this.#ended = true;
    for (const timer of [this.#timer, this.#wasFull]) this.#world.clock.clearTimeout(/** @type {any} */ (timer));
  }
}

/**
 * @param {Pick<PublicStatus['storage'], 'kind' | 'persisted' | 'usageBytes' | 'quotaBytes'>} numbers
 * @param {boolean} [wasFull] a write found no room just now
 * @returns {PublicStatus['storage']}
 */
export function withRisk(numbers, wasFull = false) {
  const { kind, persisted, usageBytes, quotaBytes } = numbers;
  if (kind === 'memory') {
    return { ...numbers, risk: 'memory', message: 'Everything is in memory only and is lost when this tab closes: push or export it first.' };
  }
  if (wasFull) {
    return { ...numbers, risk: 'nearly-full', message: 'A write just now found no room: free space on this device, and push what is pending.' };
  }
  if (usageBytes !== null && quotaBytes !== null && (quotaBytes - usageBytes < ROOM_BYTES || usageBytes > FULL * quotaBytes)) {
    const left = Math.max(0, Math.floor((quotaBytes - usageBytes) / (1 << 20)));
    return { ...numbers, risk: 'nearly-full', message: `Only ${left} MB are left for this site: free space on this device, and push what is pending.` };
  }
  if (persisted === false) {
    return {
      ...numbers,
      risk: 'evictable',
      message: 'The browser may remove this site\'s data when the device runs short of space: install the page or allow it to keep data, and push often.',
    };
  }
  return { ...numbers, risk: null, message: null };
}
