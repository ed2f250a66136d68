"""Writes to a station's file with Python's own sqlite3 module, as the existing system's scripts do."""

import datetime
import json
import sqlite3
import sys

db = sqlite3.connect(sys.argv[1], timeout=20)
moment = datetime.datetime(2025, 3, 1, 8, 30, 0, 123456)

with db:
    source = db.execute(
        "INSERT INTO source_data (file_name, file_path, processed) VALUES (?, ?, ?)",
        ("остатки.xlsx", "/данные/остатки.xlsx", False),
    ).lastrowid
    products = [
        db.execute("INSERT INTO nomenclature (name, product_type) VALUES (?, 'рыба')", (name,)).lastrowid
        for name in ("СИНЕЦ ВЯЛЕНЫЙ", "СКУМБРИЯ Х/К", "УДАЛИТЬ")
    ]
    db.executemany(
        """INSERT INTO calculation_data (source_data_id, nomenclature_id, initial_balance, incoming, outgoing, final_balance,
               storage_days, calculation_date, adjusted_shrinkage_rate, fifo_principle_applied, fifo_batch_sequence)
           VALUES (?, ?, ?, 0, 0, ?, 7, ?, ?, ?, ?)""",
        [
            (source, product, initial, final, str(moment + datetime.timedelta(days=10 * n)), (initial - final) / initial, True,
             json.dumps([{"партия": n, "кг": initial}], ensure_ascii=n == 0))
            for n, (product, initial, final) in enumerate([(products[0], 1.2, 1.092), (products[1], 5.0, 4.75)])
        ],
    )
with db:
    db.execute("UPDATE nomenclature SET name = name || ' (исправлено) 🐟' WHERE id = ?", (products[1],))
    db.execute("UPDATE calculation_data SET manual_review_required = 1 WHERE source_data_id = ?", (source,))
    db.execute("DELETE FROM nomenclature WHERE name = 'УДАЛИТЬ'")
    db.execute("UPDATE source_data SET processed = ?, quality_score = 0.1 + 0.2 WHERE id = ?", (True, source))

try:
    with db:
        db.execute("INSERT INTO nomenclature (name) VALUES ('ОТКАТ')")
        raise RuntimeError("the program changes its mind")
except RuntimeError:
    pass
# The library's SQLite, an upsert, and several rows in one statement.
with db:
    db.execute(
        """INSERT INTO models (id, name, model_type) VALUES (1, 'линейная', 'linear'), (2, 'полином', 'polynomial')
           ON CONFLICT (id) DO UPDATE SET version = coalesce(version, '') || '+1'"""
    )
print("sqlite3", sqlite3.sqlite_version, "wrote", db.total_changes, "rows, capture's own included")
db.close()
