/** Join codes: for a new station, and for one whose token has ended. */
import { post } from '../api.js';
import { as, ask, field } from '../dialog.js';
import { bdi, el, svg } from '../dom.js';
import { moment } from '../format.js';
import { parts, t } from '../i18n/index.js';
import { button, facts } from '../parts.js';

/** The server as this page is reached: what a station is told unless somebody knows better. */
const here = () => new URL('..', document.baseURI).href.replace(/\/$/, '');

export const urlField = () => field('url', t('invite.url'), { hint: t('invite.urlHint'), inputmode: 'url', value: here() });

export async function invite(at) {
  const done = await ask({
    title: t('invite.title'), yes: t('invite.yes'), focus: 'name',
    body: [field('name', t('invite.name'), { hint: t('invite.nameHint'), maxlength: 200 }), urlField()],
    run: async ({ name, url }) => invitation(await post('stations', { name: name.trim(), url: url.trim() || undefined })
      .catch(as({ conflict: 'name-taken', 'bad-request': 'bad-invitation' }))),
  });
  if (done) at.reload();
}

/** A code, and every way to hand it over. It is shown once: the server keeps its hash alone. */
export function invitation({ name, code, notebook, expires_at_ms, qr }) {
  const said = el('span', { role: 'status' });
  const text = el('textarea', {
    class: 'code', readonly: true, rows: 4, spellcheck: 'false', 'aria-label': t('invite.code'), '.value': code,
    onfocus: event => event.target.select(),
  });
  const copy = async () => {
    said.textContent = (await copied(text)) ? t('invite.copied') : t('invite.notCopied');
  };
  return [
    el('p', {}, parts('invite.made', { name: bdi(name), moment: moment(expires_at_ms) })),
    text,
    el('div', { class: 'actions' }, button(t('invite.copy'), copy), said),
    el('p', { class: 'quiet' }, t('invite.once')),
    facts([
      [t('invite.onStation'), el('code', {}, t('invite.command'))],
      [t('invite.inBrowser'), notebook ? el('a', { href: web(notebook), target: '_blank', rel: 'noreferrer' }, t('invite.notebook')) : null],
    ]),
    qr && el('figure', { class: 'qr' }, drawn(qr), el('figcaption', { class: 'quiet' }, t('invite.scan'))),
  ];
}

/** An address that a link may lead to. */
const web = address => (/^https?:\/\//i.test(address) ? address : null);

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text.value);
    return true;
  } catch {
    // Over plain HTTP there is no clipboard for pages: the old way.
    text.focus();
    text.select();
    return document.execCommand('copy');
  }
}

/** A QR code from its rows of `0` and `1`, dark on light whatever the page's colours are: cameras want it so. */
function drawn(rows) {
  const size = rows.length + 8;
  const path = rows.flatMap((row, y) => [...row].map((dark, x) => (dark === '1' ? `M${x + 4} ${y + 4}h1v1h-1z` : ''))).join('');
  return svg('svg', { viewBox: `0 0 ${size} ${size}`, role: 'img', 'aria-label': t('invite.qr'), 'shape-rendering': 'crispEdges' },
    svg('rect', { width: size, height: size, fill: '#ffffff' }), svg('path', { d: path, fill: '#000000' }));
}
