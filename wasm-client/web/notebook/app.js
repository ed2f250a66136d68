/** The field notebook: opens the database and wires the views to it. */
import { Tidemark } from './tidemark/index.js';
import { currentLanguage, onLanguage, setLanguage, t, translate } from './i18n/index.js';
import { placeIcons } from './icons.js';
import { describe } from './failure.js';
import { deleteRecord, restoreRecord } from './records.js';
import { remember } from './settings.js';
import { keepPage } from './update.js';
import { dayView } from './views/day.js';
import { deviceView } from './views/device.js';
import { entryView } from './views/entry.js';
import { failedView } from './views/failed.js';
import { historyView } from './views/history.js';
import { codeFromAddress, joinView } from './views/join.js';
import { lightView } from './views/light.js';
import { pickerView } from './views/picker.js';
import { rejectsView } from './views/rejects.js';
import { sectionsView } from './views/sections.js';
import { toast } from './views/toast.js';

translate(document);
placeIcons(document);
languages();
const code = codeFromAddress();
const { reveal } = sectionsView();
let device = null;
const light = lightView({ onOpen: () => device?.open() });
keepPage().catch(error => console.warn('The page will not open without a network:', error));
start(await open());

function languages() {
  const buttons = document.querySelectorAll('#languages button');
  const mark = () => {
    document.title = t('app.title');
    for (const button of buttons) button.setAttribute('aria-pressed', String(button.dataset.language === currentLanguage()));
  };
  for (const button of buttons) {
    button.addEventListener('click', () => {
      remember('language', button.dataset.language);
      setLanguage(button.dataset.language);
    });
  }
  onLanguage(mark);
  mark();
}

/** Opens the notebook; where that fails, the page says so until the person finds a way. */
async function open(memory = undefined) {
  try {
    const base = document.querySelector('meta[name=tidemark-server]').content;
    return await Tidemark.open({
      name: 'notebook',
      schema: await schema(),
      server: base === '' ? undefined : new URL(base, location.href).href.replace(/\/$/, ''),
      memory,
    });
  } catch (error) {
    light.fail();
    await failedView(error);
    return open('allow');
  }
}

/** The schema lies beside the page; a notebook that is made already opens without it. */
async function schema() {
  const reply = await fetch('schema.toml').catch(() => null);
  return reply?.ok ? reply.text() : undefined;
}

function start(db) {
  const history = historyView({ db, onEdit: id => entry.edit(id), onChoose: () => { reveal('entry'); picker.focus(); } });
  const picker = pickerView({ db, onPick: product => entry.pick(product) });
  const entry = entryView({ db, picker, reveal, onProduct: product => history.show(product), onDelete: remove });
  dayView({
    db,
    onEdit: id => entry.edit(id),
    onDelete: remove,
    onHistory: record => {
      if (record.product_id !== null) history.show({ id: record.product_id, name: record.product });
      reveal('history');
      document.getElementById('history').focus();
    },
  });
  const join = joinView({ db, onCode: () => device.open() });
  device = deviceView({ db, join, rejects: rejectsView({ db }) });
  document.getElementById('main').hidden = false;

  let first = true;
  let losing = false;
  addEventListener('beforeunload', event => { if (losing) event.preventDefault(); });
  db.on('status', status => {
    light.show(status);
    device.show(status);
    join.show(status);
    // Installed, the icon carries the number of changes that are only here.
    navigator.setAppBadge?.(status.pending).catch(() => {});
    losing = status.storage.kind === 'memory' && status.pending > 0;
    if (first) join.offer(code);
    first = false;
  });

  async function remove({ id, product }) {
    try {
      const row = await deleteRecord(db, id);
      if (row === null) {
        toast(t('record.gone'));
        return true;
      }
      entry.forget(id);
      toast(t('record.deleted', { product }), {
        action: t('record.undo'),
        act: () => restoreRecord(db, row).then(
          () => toast(t('record.restored', { product })),
          error => toast(describe(error).text, { bad: true })),
      });
      return true;
    } catch (error) {
      toast(describe(error).text, { bad: true });
      return false;
    }
  }
}
