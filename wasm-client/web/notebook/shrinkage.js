/**
 * What one inventory record means. Masses in kilograms, rates as fractions of the initial mass (0.09 = 9 %), days whole.
 * Pure: no page, no database.
 */

/** Past this share of the initial mass a loss is more likely a slip of the pen than shrinkage. */
export const RATE_UNUSUAL = 0.3;

/** Kilograms to the milligram: hides what binary fractions leave behind (1.2 − 1.092 is 0.108, not 0.10799999999999987). */
const milligrams = kg => Math.round(kg * 1e6) / 1e6 + 0;

/**
 * @typedef {object} Shrinkage
 * @property {number | null} theoretical What should be there: initial + incoming − outgoing.
 * @property {number | null} shrinkage Theoretical − final; negative is a surplus.
 * @property {number | null} rate Shrinkage ÷ initial, over the storage days; null where the initial balance is not positive.
 * @property {number | null} perDay Rate ÷ days; null without days.
 * @property {boolean} surplus More was found than should be there.
 * @property {boolean} unusual The rate is beyond what storage does.
 */

/**
 * Works out what the figures so far allow; what is missing is null.
 * @param {{initial: number | null, incoming: number | null, outgoing: number | null, final: number | null, days: number | null}} record
 *   No incoming or outgoing counts as none.
 * @returns {Shrinkage}
 */
export function shrinkageOf({ initial, incoming, outgoing, final, days }) {
  const theoretical = initial === null ? null : milligrams(initial + (incoming ?? 0) - (outgoing ?? 0));
  const shrinkage = theoretical === null || final === null ? null : milligrams(theoretical - final);
  const rate = shrinkage === null || initial === null || initial <= 0 ? null : shrinkage / initial;
  return {
    theoretical,
    shrinkage,
    rate,
    perDay: rate === null || !days ? null : rate / days,
    surplus: shrinkage !== null && shrinkage < 0,
    unusual: rate !== null && rate > RATE_UNUSUAL,
  };
}
