/** Questions that stand over the page until they are answered. */
import { Failure } from './api.js';
import { el, show } from './dom.js';
import { t } from './i18n/index.js';
import { button, icon } from './parts.js';
import { failed } from './words.js';

let count = 0;

/**
 * Asks in a dialog. `body`: what is said and asked; `yes`: the words of the button that does it; `run` gets the form's
 * values and returns nodes to show afterwards, or nothing, which closes it. A failure is told in the dialog, and what
 * was typed stays. Resolves with what `run` returned, or null when it was left.
 */
export function ask({ title, body, yes, danger = false, run, focus = null }) {
  const id = `dialog-${(count += 1)}`;
  const outcome = el('div', { class: 'outcome', 'aria-live': 'polite' });
  let result = null;
  const leave = () => box.close();
  const act = el('button', { class: `button ${danger ? 'danger' : 'primary'}`, type: 'submit' }, yes);
  const cancel = button(t('dialog.cancel'), leave);
  const form = el('form', { method: 'dialog', novalidate: true, async onsubmit(event) {
    event.preventDefault();
    if (act.getAttribute('aria-disabled') === 'true') return;
    act.setAttribute('aria-disabled', 'true');
    show(outcome, el('p', { class: 'quiet' }, t('dialog.busy')));
    try {
      result = (await run(Object.fromEntries(new FormData(form)))) ?? true;
      if (result === true) return void leave();
      show(content, result, el('div', { class: 'actions' }, button(t('dialog.done'), leave, { class: 'primary' })));
      heading.focus();
    } catch (problem) {
      if (!(problem instanceof Failure)) throw problem;
      show(outcome, failed(problem));
    }
    act.removeAttribute('aria-disabled');
  } }, body, outcome, el('div', { class: 'actions' }, act, cancel));
  const heading = el('h2', { id, tabindex: '-1' }, title);
  const content = el('div', { class: 'content' }, form);
  const box = el('dialog', { 'aria-labelledby': id },
    el('header', {}, heading, button(icon('close'), leave, { class: 'icon', 'aria-label': t('dialog.close') })), content);
  document.body.append(box);
  const from = document.activeElement;
  box.showModal();
  // What cannot be taken back is not under the finger.
  (focus ? form.elements[focus] : danger ? cancel : act).focus();
  return new Promise(resolve => {
    box.addEventListener('close', () => {
      box.remove();
      if (from?.isConnected) from.focus();
      resolve(result);
    });
  });
}

/** Failures of an act in its own words: `as({ conflict: 'name-taken' })`. */
export const as = codes => problem => {
  if (problem instanceof Failure && Object.hasOwn(codes, problem.code)) problem.code = codes[problem.code];
  throw problem;
};

/** A field of a form with its label and, below, what it is for. */
export function field(name, label, { hint = null, ...attributes } = {}) {
  const id = `field-${(count += 1)}`;
  return el('div', { class: 'field' }, el('label', { for: id }, label),
    el('input', { id, name, autocomplete: 'off', spellcheck: 'false', 'aria-describedby': hint && `${id}-hint`, ...attributes }),
    hint && el('p', { class: 'quiet', id: `${id}-hint` }, hint));
}
