/** The whole page says why the notebook cannot open, and what to do. */
import { el } from '../dom.js';
import { icon } from '../icons.js';
import { describe, forTheOffice } from '../failure.js';
import { onLanguage, t } from '../i18n/index.js';

/** @returns {Promise<void>} Resolves when the person chose to work in memory. */
export function failedView(error) {
  return new Promise(resolve => {
    const page = el('section', { class: 'card failed-page', role: 'alert' });
    const render = () => {
      const { text, detail } = describe(error);
      page.replaceChildren(
        el('span', { class: 'lamp' }, icon('disk')),
        el('h2', {}, t('failure.title')),
        el('p', {}, text),
        el('div', { class: 'actions' },
          el('button', { type: 'button', class: 'primary', onclick: () => location.reload() }, t('failure.reload')),
          error?.code === 'no-storage' && el('button', { type: 'button', onclick: () => { page.parentElement.remove(); resolve(); } }, t('failure.memory'))),
        error?.code === 'no-storage' ? el('p', { class: 'quiet' }, t('failure.memoryHint')) : '',
        forTheOffice(`${error?.code ?? ''} ${detail ?? error?.message ?? ''}`));
    };
    onLanguage(render);
    render();
    const main = el('main', {}, page);
    document.getElementById('main').before(main);
  });
}
