"""Writes to a station's file while it is pruned: rows that reference old ones, and old rows that become new. Ends when its input does."""

import random
import sqlite3
import sys
import threading

ended = threading.Event()


def wait_for_the_end():
    sys.stdin.read()
    ended.set()


threading.Thread(target=wait_for_the_end, daemon=True).start()
db = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
dice = random.Random(int(sys.argv[2]))
commits = 0
while not ended.is_set():
    db.execute("BEGIN IMMEDIATE")
    (first, last) = db.execute("SELECT min(id), max(id) FROM calculation_data").fetchone()
    parent = db.execute(
        "SELECT id FROM calculation_data WHERE id >= ? ORDER BY id LIMIT 1", (dice.randint(first, last),)
    ).fetchone()[0]
    db.execute("INSERT INTO coefficients (calculation_data_id, coefficient_a) VALUES (?, ?)", (parent, dice.random()))
    child = db.execute("SELECT id FROM coefficients WHERE id >= ? ORDER BY id LIMIT 1", (dice.randint(first, last),)).fetchone()
    if child:
        db.execute("INSERT INTO forecasts (coefficient_id, forecast_value) VALUES (?, 0.5)", child)
    db.execute(
        "UPDATE calculation_data SET final_balance = ?, calculation_date = datetime('now') WHERE id = ?",
        (dice.random(), dice.randint(first, last)),
    )
    if dice.random() < 0.2:
        db.execute("ROLLBACK")
        continue
    db.execute("COMMIT")
    commits += 1
    ended.wait(0.005)
print(commits)
