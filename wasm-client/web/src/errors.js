/** The error every call rejects with, and its way between worker and page. */

/**
 * @typedef {import('./protocol.js').Failure} Failure
 * @typedef {import('./index.js').TidemarkError} PublicError
 */

/** @implements {PublicError} */
export class TidemarkError extends Error {
  /**
   * @param {import('./index.js').ErrorCode} code
   * @param {string} message
   * @param {import('./index.js').JoinReason | null} [reason]
   */
  constructor(code, message, reason = null) {
    super(message);
    /** @type {'TidemarkError'} */
    this.name = 'TidemarkError';
    this.code = code;
    this.reason = reason;
  }
}

/**
 * As it can be sent to another context. What has no code of ours is a broken invariant.
 * @param {unknown} error
 * @returns {Failure}
 */
export function toFailure(error) {
  if (hasCode(error)) return { code: error.code, message: error.message, reason: error.reason ?? null };
  const words = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return { code: 'bug', message: `BUG: ${words}. Please report it; what was committed is on the disk` };
}

/**
 * @param {unknown} error
 * @returns {error is Failure}
 */
function hasCode(error) {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string' && 'message' in error;
}

/**
 * Whether it is an error that has been thought of. Others (a trap of the module, a mistake of ours) leave a state that nobody knows.
 * @param {unknown} error
 * @returns {error is Failure}
 */
export function isExpected(error) {
  return hasCode(error) && error.code !== 'bug';
}

/** @param {Failure} failure */
export const fromFailure = ({ code, message, reason }) => new TidemarkError(code, message, reason);
