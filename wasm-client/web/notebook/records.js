/** Products and inventory records in SQL: the only file that knows the tables `nomenclature` and `calculation_data`. */

import { keyOf, tidy } from './names.js';
import { fromStored } from './days.js';
import { shrinkageOf } from './shrinkage.js';

/** Every product, the one counted last first, with its last record. */
export const PRODUCTS = `
  SELECT p.id, p.name, r.calculation_date AS counted_at, r.final_balance AS final
  FROM nomenclature p
  LEFT JOIN (SELECT nomenclature_id, max(calculation_date) AS calculation_date, final_balance FROM calculation_data GROUP BY nomenclature_id) r
    ON r.nomenclature_id = p.id
  ORDER BY coalesce(r.calculation_date, p.created_date) DESC, p.id DESC`;

const RECORD = `
  SELECT r.id, r.nomenclature_id AS product_id, p.name AS product, r.initial_balance AS initial, r.incoming, r.outgoing,
    r.final_balance AS final, r.storage_days AS days, r.calculation_date AS counted_at
  FROM calculation_data r LEFT JOIN nomenclature p ON p.id = r.nomenclature_id`;

/** The records counted from the first to before the second time, newest first, and not more than the third. */
export const RECORDS_OF_DAY = `${RECORD} WHERE r.calculation_date >= ? AND r.calculation_date < ? ORDER BY r.calculation_date DESC, r.id DESC LIMIT ?`;

/** Of the same span: how many, and what they lost together. */
export const TOTAL_OF_DAY = `
  SELECT count(*) AS records, total(initial_balance + coalesce(incoming, 0) - coalesce(outgoing, 0) - final_balance) AS shrinkage
  FROM calculation_data WHERE calculation_date >= ? AND calculation_date < ?`;

/** The records of one product, newest first, and not more than the second number. */
export const RECORDS_OF_PRODUCT = `${RECORD} WHERE r.nomenclature_id = ? ORDER BY r.calculation_date DESC, r.id DESC LIMIT ?`;

/** A record with what follows from it. */
export const workedOut = row => ({ ...row, at: fromStored(row.counted_at), ...shrinkageOf(row) });

/**
 * The product of that name, made if there is none: `Скумбрия х/к ` finds СКУМБРИЯ Х/К.
 * @returns {Promise<{id: number, name: string}>}
 */
export function productNamed(db, name) {
  return db.transaction(async tx => {
    const products = await tx.query('SELECT id, name FROM nomenclature ORDER BY id');
    const found = products.find(product => keyOf(product.name) === keyOf(name));
    return found ?? { id: await tx.insert('nomenclature', { name: tidy(name) }), name: tidy(name) };
  });
}

export async function recordById(db, id) {
  const [row] = await db.query(`${RECORD} WHERE r.id = ?`, [id]);
  return row ? workedOut(row) : null;
}

/**
 * The columns of a record. The count closes a period of `days` that ends when it was made; a surplus or an unusual loss, which the page has
 * pointed out, is marked for a second look.
 */
function columns(entry, at) {
  const { shrinkage, surplus, unusual } = shrinkageOf(entry);
  return {
    nomenclature_id: entry.productId,
    initial_balance: entry.initial,
    incoming: entry.incoming ?? 0,
    outgoing: entry.outgoing ?? 0,
    final_balance: entry.final,
    storage_days: entry.days,
    inventory_period_start: new Date(at.getTime() - entry.days * 86_400_000),
    inventory_period_end: at,
    inventory_shrinkage_total: shrinkage,
    manual_review_required: surplus || unusual,
  };
}

/** Saves a new record; its id. `calculation_date` is now, by its default. */
export const addRecord = (db, entry) => db.insert('calculation_data', columns(entry, new Date()));

/** Corrects a record; false when it is gone. */
export async function changeRecord(db, id, entry, at) {
  const set = columns(entry, at);
  const names = Object.keys(set);
  const { changes } = await db.exec(
    `UPDATE calculation_data SET ${names.map(name => `${name} = ?`).join(', ')} WHERE id = ?`, [...Object.values(set), id]);
  return changes > 0;
}

/** Deletes a record; the whole row, for {@link restoreRecord}, or null when it was gone already. */
export function deleteRecord(db, id) {
  return db.transaction(async tx => {
    const [row] = await tx.query('SELECT * FROM calculation_data WHERE id = ?', [id]);
    if (row) await tx.exec('DELETE FROM calculation_data WHERE id = ?', [id]);
    return row ?? null;
  });
}

/** Puts a deleted row back as it was, under its own id. */
export const restoreRecord = (db, row) => db.insert('calculation_data', row);
