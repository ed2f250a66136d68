/**
 * The words of the page in the language chosen. A text may hold `{name}`: numbers put there are formatted, other things
 * put in as they are. A text with plural forms is an object by the categories of Intl.PluralRules, chosen by `n`.
 */
import en from './en.js';
import ru from './ru.js';

const LANGUAGES = { en, ru };
const STORED = 'tidemark-admin.language';

const asked = () => {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
};

let language = Object.hasOwn(LANGUAGES, asked() ?? '') ? asked() : /^ru\b/i.test(navigator.language) ? 'ru' : 'en';
document.documentElement.lang = language;

export const currentLanguage = () => language;

export function setLanguage(to) {
  language = to;
  document.documentElement.lang = to;
  try {
    localStorage.setItem(STORED, to);
  } catch {
    // It is chosen again next time.
  }
}

/** There is such a text. */
export const knows = key => Object.hasOwn(LANGUAGES[language], key);

export function t(key, params = {}) {
  const entry = LANGUAGES[language][key];
  if (entry === undefined) throw new Error(`BUG: no text ${key} in ${language}`);
  return pick(entry, params).replace(/\{(\w+)\}/g, (_, name) => {
    const value = params[name];
    return typeof value === 'number' ? number(value) : String(value);
  });
}

const pick = (entry, params) => (typeof entry === 'string' ? entry : entry[plurals().select(params.n)]);

/**
 * The same with nodes in it: what a name stands for may be an element. Returns texts and nodes.
 */
export function parts(key, params) {
  return pick(LANGUAGES[language][key], params).split(/(\{\w+\})/).filter(part => part !== '').map(part => {
    const name = /^\{(\w+)\}$/.exec(part)?.[1];
    if (name === undefined) return part;
    return typeof params[name] === 'number' ? number(params[name]) : params[name];
  });
}

const kept = new Map();

/** A formatter of Intl in the language chosen. English dates are written the day first. */
export function formatter(kind, options = {}) {
  const key = language + kind.name + JSON.stringify(options);
  if (!kept.has(key)) kept.set(key, new kind(language === 'en' ? 'en-GB' : language, options));
  return kept.get(key);
}

const plurals = () => formatter(Intl.PluralRules);
const number = value => formatter(Intl.NumberFormat, { maximumFractionDigits: 6 }).format(value);
