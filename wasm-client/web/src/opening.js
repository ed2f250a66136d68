/** Opens the database where it lies: on the origin's private file system, or, where there is none and the app agreed, in memory. */

import { TidemarkError, isExpected } from './errors.js';

/** The files of an owner that was killed are free after a moment. */
const RETRY_MS = 2_000;
const PAUSE_MS = 25;

/**
 * @typedef {import('./core.js').Core} Core
 * @typedef {typeof import('./core.js').Core} CoreClass
 */

/**
 * Where the database can lie.
 * @param {boolean} memoryAllowed
 * @returns {Promise<'opfs' | 'memory'>}
 */
export async function storageKind(memoryAllowed) {
  const missing = await whatIsMissing();
  if (missing === undefined) return 'opfs';
  if (memoryAllowed) return 'memory';
  throw new TidemarkError('no-storage', `this browser has no lasting storage for this page: ${missing}. Use a normal window of a current browser and a page loaded by https `
    + "(or from localhost); or open with memory: 'allow', which keeps everything in memory until the tab closes");
}

/** @returns {Promise<string | undefined>} */
async function whatIsMissing() {
  if (!globalThis.isSecureContext) return 'it was not loaded by https';
  if (!globalThis.navigator?.storage?.getDirectory) return 'there is no origin private file system (navigator.storage.getDirectory)';
  if (!('createSyncAccessHandle' in (globalThis.FileSystemFileHandle?.prototype ?? {}))) return 'files cannot be opened in a worker (createSyncAccessHandle)';
  try {
    await navigator.storage.getDirectory();
    return undefined;
  } catch (error) {
    return `it refuses (${error instanceof Error ? error.message : error}), as in some private windows`;
  }
}

/**
 * @param {CoreClass} Core
 * @param {{ name: string, schema?: string, server?: string }} options
 * @param {'opfs' | 'memory'} kind
 * @returns {Promise<Core>}
 */
export async function openCore(Core, options, kind) {
  const uuid = crypto.getRandomValues(new Uint8Array(16));
  const [seed] = crypto.getRandomValues(new Uint32Array(1));
  const until = performance.now() + RETRY_MS;
  for (;;) {
    try {
      return await Core.open({ ...options, memory: kind === 'memory', uuid, seed });
    } catch (error) {
      if (!isExpected(error) || error.code !== 'no-storage' || performance.now() > until) throw error;
    }
    await new Promise((resume) => { setTimeout(resume, PAUSE_MS); });
  }
}
