/** An operator's token, entered once: the server keeps it in a cookie that no script reads. */
import { Failure } from '../api.js';
import { ask, field } from '../dialog.js';
import { el, show } from '../dom.js';
import { t } from '../i18n/index.js';
import { title } from '../parts.js';
import { failed } from '../words.js';

/** `type=password`: browsers offer to keep it, and nobody reads it over a shoulder. */
const tokenField = () => field('token', t('signIn.token'), { type: 'password', autocomplete: 'current-password', required: true, maxlength: 500 });

/** The whole page, while nobody is signed in. */
export function signIn(begin) {
  const outcome = el('div', { 'aria-live': 'polite' });
  const form = el('form', { class: 'card sign-in', novalidate: true, async onsubmit(event) {
    event.preventDefault();
    const token = form.elements.token.value.trim();
    if (token === '') return void refuse(t('signIn.empty'));
    try {
      await begin(token);
    } catch (problem) {
      if (!(problem instanceof Failure)) throw problem;
      if (problem.status === 401) refuse(t('signIn.wrong'));
      else show(outcome, failed(problem));
    }
  } }, title(t('signIn.title')), el('p', {}, t('signIn.why')), tokenField(), outcome,
  el('button', { class: 'button primary', type: 'submit' }, t('signIn.yes')),
  el('details', {}, el('summary', {}, t('signIn.noToken')), el('p', {}, t('signIn.how')), el('p', {}, el('code', {}, t('signIn.command')))));
  const refuse = words => {
    show(outcome, el('div', { class: 'failed', role: 'alert' }, el('p', {}, words)));
    form.elements.token.setAttribute('aria-invalid', 'true');
    form.elements.token.select();
    form.elements.token.focus();
  };
  return form;
}

let asking = null;

/** The session ended while the page was in use: what is on it stays. Rejects when nobody signs in. */
export function signInAgain(begin) {
  asking ??= ask({
    title: t('signIn.again'), yes: t('signIn.yes'), focus: 'token',
    body: [el('p', {}, t('signIn.againWhy')), tokenField()],
    run: ({ token }) => begin(token.trim()).then(() => {}, problem => {
      if (problem.status !== 401) throw problem;
      throw new Failure('wrong-token', { status: 401 });
    }),
  }).then(done => {
    asking = null;
    if (!done) throw new Failure('unauthorized', { status: 401 });
  });
  return asking;
}
