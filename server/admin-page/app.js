/** The page: who is signed in, where it is, what is shown there, and that it stays fresh without stealing the focus. */
import { Failure, onEnded, session } from './api.js';
import { bdi, el, show } from './dom.js';
import { clock } from './format.js';
import { currentLanguage, setLanguage, t } from './i18n/index.js';
import { href, parse } from './place.js';
import { button, title } from './parts.js';
import { failed } from './words.js';
import { audit } from './views/audit.js';
import { database } from './views/database.js';
import { ingest } from './views/ingest.js';
import { rejects } from './views/rejects.js';
import { signIn, signInAgain } from './views/sign-in.js';
import { station } from './views/station.js';
import { stations } from './views/stations.js';

const REFRESH_MS = 15_000;
/** A large fleet is a large answer: it is asked for less often. */
const LARGE_STATIONS = 500;
const LARGE_MS = 60_000;
const TOLD_MS = 8000;

const SECTIONS = { stations, rejects, ingest, database, audit };

/** Whose session it is; null until somebody has signed in. */
let operator = null;
/** What is shown: its view and place, the last answer, what it keeps between drawings, and what went wrong last. */
let now = null;

const nodes = Object.fromEntries(['skip', 'top', 'main', 'fresh', 'told'].map(id => [id, document.getElementById(id)]));

function viewOf([section = 'stations', ...rest]) {
  if (section === 'stations' && rest.length === 1) return [station, section];
  return Object.hasOwn(SECTIONS, section) && rest.length === 0 ? [SECTIONS[section], section] : [null, ''];
}

/**
 * Goes to where the address says. The same place with other filters keeps what is there until the answer comes.
 * `opened`: the browser has just opened the page, and begins where every page begins.
 */
function arrive({ opened = false } = {}) {
  const { parts, query } = parse(location.hash);
  const [view, section] = viewOf(parts);
  const same = now !== null && now.view === view && now.parts.join('/') === parts.join('/');
  now = { ...place(parts, query), view, section, data: same ? now.data : null, local: same ? now.local : {}, problem: null, heard_ms: null };
  if (same) delete now.local.count;
  draw(!same, !same && !opened);
  load();
}

/** What a view gets to know and to do. */
function place(parts, query) {
  return {
    parts, query,
    go: (to, asked = {}) => {
      location.hash = href(to, asked);
    },
    /** Other filters of the same place, with nothing to ask the server for. */
    turn(more) {
      Object.assign(now.query, more);
      history.replaceState(null, '', href(now.parts, now.query));
      draw();
    },
    redraw: () => draw(),
    reload: () => load(),
    say: tell,
    /** Does something that may fail; a failure is told above what is shown. */
    async attempt(act) {
      try {
        await act();
      } catch (problem) {
        if (!(problem instanceof Failure)) throw problem;
        now.problem = problem;
        draw();
      }
    },
  };
}

async function load() {
  const here = now;
  if (!here.view) return;
  try {
    const data = await here.view.load(here);
    if (now !== here) return;
    Object.assign(now, { data, problem: null, heard_ms: Date.now() });
  } catch (problem) {
    if (!(problem instanceof Failure)) throw problem;
    if (now !== here) return;
    now.problem = problem;
  }
  draw();
}

function draw(fresh = false, focus = false) {
  drawTop();
  const { view, data, problem } = now;
  const words = view ? view.title(data, now) : t('app.nowhere');
  document.title = `${words} · Tidemark`;
  const content = !view ? [title(t('app.nowhere')), el('p', {}, el('a', { href: href(['stations']) }, t('station.back')))]
    : [problem && failed(problem), problem && el('div', { class: 'actions' },
      button(t(problem.code === 'unauthorized' ? 'signIn.yes' : 'app.again'), load)), data ? view.draw(data, now) : !problem && [title(words), el('p', { class: 'quiet', role: 'status' }, t('app.loading'))]];
  // The heading that says "loading" gives way to that of the view, and its focus goes on.
  const arriving = focus || document.activeElement?.id === 'title';
  if (fresh) nodes.main.replaceChildren();
  show(nodes.main, content);
  if (fresh) scrollTo(0, 0);
  if (arriving) (document.getElementById('title') ?? nodes.main).focus({ preventScroll: true });
  show(nodes.fresh, now.heard_ms && [t(problem ? 'app.stale' : 'app.fresh', { time: clock(now.heard_ms) }), ' ',
    button(t('app.refresh'), load, { class: 'small', id: 'refresh' })]);
}

function drawTop() {
  nodes.skip.textContent = t('app.skip');
  show(nodes.top,
    el('a', { class: 'brand', href: href(['stations']) }, el('img', { src: 'icon.svg', alt: '', width: 28, height: 28 }), el('span', {}, t('app.name'))),
    operator !== null && el('nav', { class: 'sections', 'aria-label': t('app.sections') }, Object.keys(SECTIONS).map(section => el('a', {
      href: href([section]), 'aria-current': now?.section === section ? 'page' : null,
    }, t(`nav.${section}`)))),
    el('div', { class: 'self' },
      el('div', { class: 'segments', role: 'group', 'aria-label': t('app.language') }, [['en', 'EN', 'English'], ['ru', 'RU', 'русский']].map(([of, short, long]) => el('button', {
        type: 'button', lang: of, 'aria-pressed': String(currentLanguage() === of), 'aria-label': `${short}, ${long}`, onclick: () => speak(of),
      }, short))),
      operator !== null && el('span', { class: 'operator' }, bdi(operator)),
      operator !== null && button(t('app.leave'), leave, { class: 'small', id: 'leave' })));
}

function speak(language) {
  setLanguage(language);
  if (now) draw();
  else welcome();
}

async function leave() {
  await session.end().catch(() => {});
  operator = null;
  now = null;
  welcome();
}

/** Nobody is signed in: the page asks for a token, and then goes where its address says. */
function welcome() {
  drawTop();
  document.title = `${t('signIn.title')} · Tidemark`;
  nodes.fresh.replaceChildren();
  nodes.main.replaceChildren();
  show(nodes.main, signIn(begin));
  nodes.main.querySelector('input').focus();
}

async function begin(token) {
  await session.begin(token);
  operator = await session.who();
  now = null;
  arrive();
}

onEnded(async () => {
  await signInAgain(token => session.begin(token));
  operator = await session.who();
});

let told = 0;

/** Says what came of an act, to eyes and ears. */
function tell(words) {
  nodes.told.replaceChildren(el('p', {}, words));
  clearTimeout(told);
  told = setTimeout(() => nodes.told.replaceChildren(), TOLD_MS);
}

/** Nothing is asked for while nobody looks, while a question stands open, or after somebody would not sign in again. */
function refresh() {
  if (operator === null || !now?.view || document.visibilityState !== 'visible' || document.querySelector('dialog')) return;
  if (now.problem?.code !== 'unauthorized') load();
}

function refreshIfDue() {
  const every_ms = now?.data?.stations?.length > LARGE_STATIONS ? LARGE_MS : REFRESH_MS;
  if (now?.problem || !now?.heard_ms || Date.now() - now.heard_ms >= every_ms - 1000) refresh();
}

addEventListener('hashchange', () => operator !== null && arrive());
document.addEventListener('visibilitychange', refresh);
setInterval(refreshIfDue, REFRESH_MS);

nodes.skip.addEventListener('click', event => {
  event.preventDefault();
  (document.getElementById('title') ?? nodes.main).focus();
});

try {
  operator = await session.who();
  if (operator === null) welcome();
  else arrive({ opened: true });
} catch (problem) {
  if (!(problem instanceof Failure)) throw problem;
  drawTop();
  show(nodes.main, title(t('app.name')), failed(problem), el('div', { class: 'actions' }, button(t('app.again'), () => location.reload())));
}
