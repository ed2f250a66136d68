/** The light at the head of the page: the answer to "is it safe to leave?", always in view; touched, it opens what is behind it. */
import { el } from '../dom.js';
import { icon } from '../icons.js';
import { onLanguage, say, t } from '../i18n/index.js';
import { lightOf } from '../light.js';
import { announce } from './toast.js';

export function lightView({ onOpen }) {
  const button = document.getElementById('light');
  let status = null;
  let failed = false;
  let said = '';

  function render() {
    const answer = failed ? { level: 'danger', icon: 'disk', headline: ['failure.title'], details: [] } : lightOf(status);
    const headline = say(answer.headline);
    button.dataset.level = answer.level;
    button.disabled = failed;
    const print = JSON.stringify(answer) + document.documentElement.lang;
    if (button.dataset.print === print) return;
    button.dataset.print = print;
    button.replaceChildren(
      el('span', { class: 'lamp' }, icon(answer.icon)),
      el('span', { class: 'words' },
        el('span', { class: 'sr-only' }, `${t('light.question')} `),
        el('strong', {}, headline), ' ',
        // Each wholly or not at all: half a sentence can say the contrary of the whole.
        el('span', { class: 'details' }, answer.details.map(words => el('span', {}, `${say(words)} `)))),
      icon('right'));
    // Screen readers hear a new answer, not every step of the counting.
    const spoken = answer.headline[0];
    if (spoken !== said) announce(`${t('light.question')} ${headline}`);
    said = spoken;
  }

  button.addEventListener('click', onOpen);
  onLanguage(render);
  render();
  return {
    show(next) { status = next; failed = false; render(); },
    /** The database did not open. */
    fail() { failed = true; render(); },
  };
}
