"""Writes to a station's file with Python's own sqlite3 module until its time is over or it is killed, and keeps a journal beside it.

torture_writer.py DATABASE JOURNAL SEED MILLISECONDS; the journal's form is in e2e/src/torture/journal.rs.
"""

import json
import os
import pathlib
import random
import sqlite3
import sys
import time

database, journal_path, seed, milliseconds = sys.argv[1:5]
end = time.monotonic() + int(milliseconds) / 1000
dice = random.Random(int(seed))
journal = open(journal_path, "xb", buffering=0)
db = sqlite3.connect(database, timeout=20, isolation_level=None)
changes = []


def note(line):
    journal.write(json.dumps(line).encode() + b"\n")
    os.fdatasync(journal.fileno())


def change(table, op, sql, values=()):
    """Runs a statement; notes the rows it changed."""
    for row in db.execute(sql + " RETURNING *", values).fetchall():
        cells = [{"real": repr(cell)} if isinstance(cell, float) else cell for cell in row]
        changes.append({"table": table, "op": op, "row": cells})


def some_id(table):
    row = db.execute(f"SELECT id FROM {table} WHERE id > 0 ORDER BY random() LIMIT 1").fetchone()
    return row and row[0]


def product():
    change("nomenclature", "I", "INSERT INTO nomenclature (name, product_type) VALUES (?, 'рыба')", (dice.choice(["СИНЕЦ", "ЛЕЩ 🐟"]),))


def record():
    day = f"2025-{dice.randint(1, 12):02}-{dice.randint(1, 28):02} 08:30:00.{dice.randint(0, 999999):06}"
    values = (some_id("nomenclature"), dice.random() * 60, dice.randint(1, 30), day, json.dumps([{"партия": dice.randint(1, 99)}]))
    change(
        "calculation_data",
        "I",
        "INSERT INTO calculation_data (nomenclature_id, initial_balance, storage_days, calculation_date, fifo_batch_sequence)"
        " VALUES (?, ?, ?, ?, ?)",
        values,
    )


def edit():
    sql = "UPDATE calculation_data SET final_balance = initial_balance * ?, manual_review_required = 1 WHERE id = ?"
    change("calculation_data", "U", sql, (dice.random(), some_id("calculation_data")))


def delete():
    change("forecasts", "D", "DELETE FROM forecasts WHERE id = ?", (some_id("forecasts"),))


def blunder():
    sql = "INSERT INTO calculation_data (calculation_date, storage_days) VALUES ('2025-05-05 05:05:05', 'пять')"
    change("calculation_data", "I", sql)


statements = [product, record, record, record, edit, edit, delete, blunder]
tx = 0
while time.monotonic() < end:
    tx += 1
    changes.clear()
    note({"begin": tx})
    db.execute("BEGIN IMMEDIATE")
    for _ in range(dice.choice([1, 2, 5, 9, 40])):
        dice.choice(statements)()
        if dice.random() < 0.1:
            time.sleep(dice.random() * 0.01)
    if dice.random() < 0.15:
        db.execute("ROLLBACK")
        note({"rolled_back": tx})
    else:
        name = f"{pathlib.Path(journal_path).stem}/{tx}"
        sql = "INSERT INTO data_lineage (process_name, user_id, output_records) VALUES ('python', ?, ?)"
        change("data_lineage", "I", sql, (name, len(changes)))
        (last_seq,) = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'tidemark_log'").fetchone()
        note({"prepared": {"tx": tx, "last_seq": last_seq, "changes": changes}})
        db.execute("COMMIT")
        note({"committed": tx})
    time.sleep(dice.random() * 0.05)
db.close()
