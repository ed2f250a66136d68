/**
 * The words of the page in the language chosen, and numbers and dates as that language writes them.
 * A text may hold `{name}`: numbers and dates put there are formatted, other things put in as they are. A text with plural forms is an object
 * by the categories of Intl.PluralRules, chosen by the parameter `n`.
 */
import en from './en.js';
import ru from './ru.js';

export const LANGUAGES = { en, ru };

let language = document.documentElement.lang in LANGUAGES ? document.documentElement.lang : 'en';
const listeners = new Set();

export const currentLanguage = () => language;

/** Calls `fn` after the language has changed. */
export const onLanguage = fn => void listeners.add(fn);

export function setLanguage(to) {
  language = to;
  document.documentElement.lang = to;
  translate(document);
  for (const fn of listeners) fn();
}

export function t(key, params = {}) {
  const entry = LANGUAGES[language][key];
  if (entry === undefined) throw new Error(`BUG: no text ${key} in ${language}`);
  const text = typeof entry === 'string' ? entry : entry[new Intl.PluralRules(language).select(params.n)];
  return text.replace(/\{(\w+)\}/g, (_, name) => {
    const value = params[name];
    return typeof value === 'number' ? format.number(value) : value instanceof Date ? format.moment(value) : String(value);
  });
}

/** Words as `[key, params]`. */
export const say = ([key, params]) => t(key, params);

/** Fills in the texts of markup: `data-t` the content, `data-t-label` the accessible name, `data-t-placeholder` the hint. */
export function translate(root) {
  document.documentElement.dataset.translated = language;
  for (const node of root.querySelectorAll('[data-t]')) node.textContent = t(node.dataset.t);
  for (const node of root.querySelectorAll('[data-t-label]')) node.setAttribute('aria-label', t(node.dataset.tLabel));
  for (const node of root.querySelectorAll('[data-t-placeholder]')) node.placeholder = t(node.dataset.tPlaceholder);
}

const formatters = new Map();
function formatter(kind, options) {
  const key = language + kind.name + JSON.stringify(options);
  if (!formatters.has(key)) formatters.set(key, new kind(language === 'en' ? 'en-GB' : language, options));
  return formatters.get(key);
}

const numberWith = options => formatter(Intl.NumberFormat, options);
const dateWith = options => formatter(Intl.DateTimeFormat, options);

export const format = {
  number: value => numberWith({ maximumFractionDigits: 6 }).format(value),
  /** As it stands in a field to type in: no thousands apart. */
  plain: value => numberWith({ maximumFractionDigits: 6, useGrouping: false }).format(value),
  /** Kilograms to the gram, without the unit. */
  mass: value => numberWith({ maximumFractionDigits: 3 }).format(value),
  kg: value => numberWith({ style: 'unit', unit: 'kilogram', maximumFractionDigits: 3 }).format(value),
  percent: (rate, digits = 2) => numberWith({ style: 'percent', maximumFractionDigits: digits }).format(rate),
  bytes(value) {
    const [unit, size] = value < 1e6 ? ['kilobyte', 1e3] : value < 1e9 ? ['megabyte', 1e6] : ['gigabyte', 1e9];
    return numberWith({ style: 'unit', unit, maximumSignificantDigits: 3 }).format(value / size);
  },
  time: date => dateWith({ hour: '2-digit', minute: '2-digit' }).format(date),
  day: date => dateWith({ day: 'numeric', month: 'short', ...year(date) }).format(date),
  longDay: date => dateWith({ weekday: 'long', day: 'numeric', month: 'long', ...year(date) }).format(date),
  /** The time of today, or date and time. */
  moment(date) {
    const today = date.toDateString() === new Date().toDateString();
    return today ? format.time(date) : dateWith({ day: 'numeric', month: 'short', ...year(date), hour: '2-digit', minute: '2-digit' }).format(date);
  },
};

/** The year is said when it is not this one. */
const year = date => (date.getFullYear() === new Date().getFullYear() ? {} : { year: 'numeric' });
