/** Numbers as people type them: `1.2`, `1,2`, `1 200,5`. */

const MASS_MAX_KG = 1_000_000;
const DAYS_MAX = 3650;

/** Spaces of any kind, the narrow and unbreakable ones that phones put between thousands too. */
const SPACES = /[\s\u00a0\u2009\u202f]+/g;
const DECIMAL = /^[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)$/;

/**
 * @param {string} text
 * @returns {number | null | undefined} null when nothing was typed, undefined when it is no number.
 */
export function parseDecimal(text) {
  const bare = text.replace(SPACES, '').replace(/\u2212/g, '-');
  if (bare === '') return null;
  return DECIMAL.test(bare) ? Number(bare.replace(',', '.')) : undefined;
}

/**
 * A mass in kilograms as typed.
 * @param {string} text
 * @param {boolean} required
 * @returns {{value: number | null, error: string | null}} `error` is a key of the translations; a wrong value is null.
 */
export function readMass(text, required) {
  const value = parseDecimal(text);
  if (value === null) return { value, error: required ? 'error.missing' : null };
  if (value === undefined) return { value: null, error: 'error.number' };
  if (value < 0) return { value: null, error: 'error.negative' };
  if (value > MASS_MAX_KG) return { value: null, error: 'error.huge' };
  return { value: value + 0, error: null };
}

/**
 * Storage days as typed.
 * @param {string} text
 * @returns {{value: number | null, error: string | null}} As {@link readMass}.
 */
export function readDays(text) {
  const value = parseDecimal(text);
  if (value === null) return { value, error: 'error.missing' };
  if (value === undefined) return { value: null, error: 'error.number' };
  if (value < 0) return { value: null, error: 'error.negative' };
  if (!Number.isInteger(value)) return { value: null, error: 'error.whole' };
  if (value > DAYS_MAX) return { value: null, error: 'error.days' };
  return { value: value + 0, error: null };
}
