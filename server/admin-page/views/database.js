/** The database: what it is, how large, and whether somebody could put it back. */
import { get } from '../api.js';
import { BACKUP_OLD_MS } from '../concern.js';
import { bdi, el } from '../dom.js';
import { bytes, date, now_ms, number } from '../format.js';
import { t } from '../i18n/index.js';
import { empty, facts, icon, table, title } from '../parts.js';

const KINDS = { postgresql: 'PostgreSQL', sqlite: 'SQLite' };

export const database = {
  title: () => t('nav.database'),
  load: () => get('database'),

  draw(data) {
    const { kind, version, size_bytes, timescale, hypertables = [], tables = [], read_only } = data;
    return [
      title(t('database.title')),
      read_only && el('p', { class: 'card lamp', 'data-level': 'danger' }, icon('silent'), t('database.readOnly')),
      backup(data.backup),
      el('section', { class: 'card', 'aria-labelledby': 'database-facts' }, el('h2', { id: 'database-facts' }, t('database.facts')), facts([
        [t('database.kind'), bdi(`${KINDS[kind] ?? kind} ${version}`)],
        [t('database.timescale'), timescale ? bdi(timescale) : t('database.noTimescale')],
        [t('database.size'), bytes(size_bytes)],
        [t('database.writes'), t(read_only ? 'database.no' : 'database.yes')],
      ])),
      hypertables.length > 0 && el('section', { class: 'card', 'aria-labelledby': 'hypertables' }, el('h2', { id: 'hypertables' }, t('database.hypertables')),
        table([{ key: 'table', label: t('database.table'), row: true }, { key: 'chunks', label: t('database.chunks'), class: 'number' },
          { key: 'size', label: t('database.size'), class: 'number' }], hypertables.map(one => ({
          key: one.table, cells: { table: bdi(one.table), chunks: number(one.chunks), size: bytes(one.size_bytes) },
        })), { label: t('database.hypertables') })),
      el('section', { class: 'card', 'aria-labelledby': 'tables' }, el('h2', { id: 'tables' }, t('database.tables')),
        tables.length === 0 ? empty(t('database.noTables')) : table([{ key: 'table', label: t('database.table'), row: true },
          { key: 'rows', label: t('database.rows'), class: 'number' }, { key: 'size', label: t('database.size'), class: 'number' }], tables.map(one => ({
          key: one.table, cells: { table: bdi(one.table), rows: number(one.rows), size: bytes(one.size_bytes) },
        })), { label: t('database.tables') })),
    ];
  },
};

/** The last backup, and whether it is one: a backup that nobody put back is a hope. */
function backup(last) {
  const section = (level, name, ...content) => el('section', { class: 'card lamp', 'data-level': level, 'aria-labelledby': 'backup' },
    el('h2', { id: 'backup' }, icon(name), t('backup.title')), content);
  if (!last) return section('danger', 'silent', el('p', {}, t('backup.none')));
  const { last_at_ms, file, size_bytes, restored_at_ms } = last;
  const old = now_ms() - last_at_ms > BACKUP_OLD_MS;
  const proved = restored_at_ms;
  return section(old ? 'danger' : proved === null ? 'wait' : 'safe', old || proved === null ? 'silent' : 'active',
    el('p', {}, t(old ? 'backup.old' : proved === null ? 'backup.unproved' : 'backup.good')),
    facts([
      [t('backup.last'), date(last_at_ms)],
      [t('backup.file'), file ? bdi(file) : null],
      [t('database.size'), size_bytes === null || size_bytes === undefined ? null : bytes(size_bytes)],
      [t('backup.restored'), date(proved, t('backup.never'))],
    ]));
}
