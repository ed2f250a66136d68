/** Local days: a day begins at the midnight of the clock on the wall, while times are stored in UTC. */

/** Local midnight that begins the day of `date`, `offset` days away from it. */
export const dayStart = (date, offset = 0) => new Date(date.getFullYear(), date.getMonth(), date.getDate() + offset);

/** Whole local days from the day of `from` to the day of `to`; a day of 23 or 25 hours is one. */
export const daysBetween = (from, to) => Math.round((dayStart(to) - dayStart(from)) / 86_400_000);

/** A stored timestamp (`YYYY-MM-DD HH:MM:SS.ffffff`, UTC) as a Date; null when it is none. */
export function fromStored(text) {
  if (typeof text !== 'string') return null;
  const date = new Date(`${text.trim().replace(' ', 'T').replace(/(\.\d{3})\d*$/, '$1')}Z`);
  return Number.isNaN(date.getTime()) ? null : date;
}
