/** Numbers, sizes, durations and times as the language chosen writes them, in the viewer's time zone. */
import { el } from './dom.js';
import { formatter, t } from './i18n/index.js';

const with_ = options => formatter(Intl.NumberFormat, options);

/** What there is no value for. */
export const NONE = '–';

export const number = value => (value === null || value === undefined ? NONE : with_({}).format(value));

export const percent = part => with_({ style: 'percent', maximumFractionDigits: 1 }).format(part);

const SIZES = [['terabyte', 1e12], ['gigabyte', 1e9], ['megabyte', 1e6], ['kilobyte', 1e3], ['byte', 1]];

export function bytes(value) {
  if (value === null || value === undefined) return NONE;
  const [unit, size] = SIZES.find(([, least]) => value >= least) ?? SIZES.at(-1);
  return with_({ style: 'unit', unit, unitDisplay: unit === 'byte' ? 'long' : 'short', maximumSignificantDigits: 3 })
    .format(value / size);
}

const UNITS = [['day', 86_400_000], ['hour', 3_600_000], ['minute', 60_000], ['second', 1000]];

/** Milliseconds as one unit or two: `3 days 4 hr`, `12 min`; `narrow`: `3d 4h`. */
export function duration(ms, unitDisplay = 'short') {
  const whole = Math.abs(ms);
  if (whole < 1000) {
    return with_({ style: 'unit', unit: 'millisecond', unitDisplay: 'short', maximumFractionDigits: 0 }).format(whole);
  }
  const first = UNITS.findIndex(([, size]) => whole >= size);
  const unit = (at, count) => with_({ style: 'unit', unit: UNITS[at][0], unitDisplay, maximumFractionDigits: 0 })
    .format(count);
  const [, size] = UNITS[first];
  const count = Math.floor(whole / size);
  const rest = first + 1 < UNITS.length ? Math.floor((whole - count * size) / UNITS[first + 1][1]) : 0;
  // Seconds say nothing beside minutes, nor hours beside ten days.
  return rest === 0 || count >= 10 || UNITS[first][0] === 'minute' ? unit(first, count) : `${unit(first, count)} ${unit(first + 1, rest)}`;
}

/** A clock's difference with its sign: `+2 sec`. */
export function offset(ms) {
  if (ms === null || ms === undefined) return NONE;
  if (Math.abs(ms) < 1000) return t('time.exact');
  return `${ms > 0 ? '+' : '−'}${duration(ms, 'narrow')}`;
}

/** The server's clock now, from its last answer: times are told against the clock that they were taken by. */
let ahead_ms = 0;
export const heardNow = now_ms => {
  ahead_ms = now_ms - Date.now();
};
export const now_ms = () => Date.now() + ahead_ms;

export function ago(at_ms) {
  const past = now_ms() - at_ms;
  if (past < -60_000) return t('time.in', { duration: duration(past) });
  return past < 5000 ? t('time.now') : t('time.ago', { duration: duration(past) });
}

/** What a station reports may be no time at all. */
const isTime = at_ms => Number.isFinite(at_ms) && Math.abs(at_ms) <= 8.64e15;

/** Date and time; the year when it is not this one. */
export function moment(at_ms) {
  if (!isTime(at_ms)) return NONE;
  const date = new Date(at_ms);
  const year = date.getFullYear() === new Date().getFullYear() ? {} : { year: 'numeric' };
  return formatter(Intl.DateTimeFormat, { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', ...year })
    .format(date);
}

export const clock = at_ms =>
  formatter(Intl.DateTimeFormat, { hour: '2-digit', minute: '2-digit', second: '2-digit' }).format(new Date(at_ms));

export const hour = at_ms => formatter(Intl.DateTimeFormat, { hour: '2-digit', minute: '2-digit' }).format(new Date(at_ms));
export const day = at_ms => formatter(Intl.DateTimeFormat, { day: 'numeric', month: 'short' }).format(new Date(at_ms));

/** A time below a heading that says of what: how long ago, `3h 5m`, above `29 Nov, 14:05`. */
export function when(at_ms, none = NONE) {
  if (!isTime(at_ms)) return el('span', { class: 'none' }, none);
  const past = now_ms() - at_ms;
  const since = past < 5000 ? ago(at_ms) : duration(past, 'narrow');
  return el('time', { class: 'when', datetime: iso(at_ms) }, el('span', {}, since), ' ', el('small', {}, moment(at_ms)));
}

/** A time as when and how long ago, on one line. */
export function date(at_ms, none = NONE) {
  if (!isTime(at_ms)) return el('span', { class: 'none' }, none);
  return el('time', { datetime: iso(at_ms) }, `${moment(at_ms)} `, el('small', {}, `(${ago(at_ms)})`));
}

const iso = at_ms => new Date(at_ms).toISOString();
