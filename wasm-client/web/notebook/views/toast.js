/** Short messages at the foot of the page, one at a time, each with at most one thing to do. They cover nothing: the page gives them room. */
import { el } from '../dom.js';
import { icon } from '../icons.js';
import { t } from '../i18n/index.js';

const STAY_MS = 8_000;
/** Long enough to notice a slip and to find the button with a glove on. */
const STAY_WITH_ACTION_MS = 20_000;

const place = document.getElementById('toasts');
let timer = 0;

export function toast(text, { action = null, act = null, bad = false, stay = false } = {}) {
  clearTimeout(timer);
  const close = () => node.remove();
  const node = el('div', { class: bad ? 'toast bad' : 'toast' },
    el('p', {}, text),
    act && el('button', { type: 'button', class: 'act', onclick: () => { close(); act(); } }, action),
    el('button', { type: 'button', class: 'icon', 'aria-label': t('toast.close'), onclick: close }, icon('close')));
  const leave = () => { if (!stay) timer = setTimeout(close, act ? STAY_WITH_ACTION_MS : STAY_MS); };
  // It does not go away under the finger, or while the keyboard is on it.
  for (const event of ['pointerenter', 'focusin']) node.addEventListener(event, () => clearTimeout(timer));
  for (const event of ['pointerleave', 'focusout']) node.addEventListener(event, leave);
  place.replaceChildren(node);
  leave();
}

const announcer = document.getElementById('announcer');
let pause = 0;

// While a sheet is open, all beside it is out of reach for fingers and screen readers: the messages go along.
const sheet = document.getElementById('device');
const follow = () => {
  (sheet.open ? sheet : document.body).append(place, announcer);
  giveRoom();
};
new MutationObserver(follow).observe(sheet, { attributeFilter: ['open'] });

/** What stands at the foot of the page stands above the message (css: `--toast`). */
function giveRoom() {
  const height = sheet.open ? 0 : place.offsetHeight;
  document.documentElement.style.setProperty('--toast', `${height === 0 ? 0 : height + 8}px`);
}
new ResizeObserver(giveRoom).observe(place);

/** Says something to screen readers only, once it has stopped changing. */
export function announce(text) {
  clearTimeout(pause);
  pause = setTimeout(() => { announcer.textContent = text; }, 1_000);
}
