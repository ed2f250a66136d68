"""What capture costs a program in Python: the same rows into the same table without triggers and with them.

    capture.py PLAIN CAPTURED FOLDER [ROUNDS [ROWS]]

PLAIN and CAPTURED are empty SQLite files with the tables of the shrinkage schema, copied anew into FOLDER for every
measurement. Written by SQLAlchemy with the models of the shrinkage system, and by the driver alone. Prints a line of
JSON per way of writing: the medians of both, in microseconds of CPU per row, and of the ratio of each pair.
"""

import json
import pathlib
import random
import shutil
import sqlite3
import statistics
import sys
import time

from sqlalchemy import create_engine, insert
from sqlalchemy.orm import Session

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "e2e/tests/python"))
from shrinkage_system import models, value  # noqa: E402

TABLE = "calculation_data"


def driver(path, table, rows, how):
    """The driver alone: `many` rows in one call, or `one` transaction for all rows, or one for `each`."""
    db = sqlite3.connect(path, isolation_level=None)
    names = [c.name for c in table.columns if c.name != "id"]
    plain = (int, float, str, type(None))
    values = [tuple(row[n] if isinstance(row[n], plain) else str(row[n]) for n in names) for row in rows]
    statement = f"INSERT INTO {TABLE} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    begin = time.process_time()
    if how != "each":
        db.execute("BEGIN")
    if how == "many":
        db.executemany(statement, values)
    else:
        for row in values:
            db.execute(statement, row)
    if how != "each":
        db.execute("COMMIT")
    spent = time.process_time() - begin
    db.close()
    return spent


def bulk(path, table, rows):
    """SQLAlchemy's bulk insert, one transaction."""
    engine = create_engine("sqlite:///" + path)
    with engine.connect() as db:
        begin = time.process_time()
        db.execute(insert(table), rows)
        db.commit()
        spent = time.process_time() - begin
    engine.dispose()
    return spent


def row_by_row(path, cls, rows):
    """The models, a transaction for each row."""
    engine = create_engine("sqlite:///" + path)
    with Session(engine) as session:
        begin = time.process_time()
        for row in rows:
            session.add(cls(**row))
            session.commit()
        spent = time.process_time() - begin
    engine.dispose()
    return spent


def main():
    plain, captured, folder = sys.argv[1:4]
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 7
    count = int(sys.argv[5]) if len(sys.argv) > 5 else 20_000
    _, classes = models()
    cls = classes[TABLE]
    table = cls.__table__
    dice = random.Random(18)
    rows = [{c.name: value(dice, c, {}, n) for c in table.columns if c.name != "id"} for n in range(count)]
    few = rows[: count // 20]
    ways = {
        "driver, executemany": (driver, table, rows, "many"),
        "driver, row by row in one transaction": (driver, table, rows, "one"),
        "driver, a transaction for each row": (driver, table, few, "each"),
        "SQLAlchemy, bulk": (bulk, table, rows),
        "SQLAlchemy models, a transaction for each row": (row_by_row, cls, few),
    }
    for name, (way, what, written, *how) in ways.items():
        spent = {plain: [], captured: []}
        # The first pair only warms up what is cached.
        for n in range(rounds + 1):
            for source in (plain, captured) if n % 2 else (captured, plain):
                path = f"{folder}/{pathlib.Path(source).name}.copy"
                for suffix in ("-wal", "-shm"):
                    pathlib.Path(path + suffix).unlink(missing_ok=True)
                shutil.copyfile(source, path)
                seconds = way(path, what, written, *how)
                if n:
                    spent[source].append(seconds)
        ratio = statistics.median(c / p for p, c in zip(spent[plain], spent[captured]))
        micros = {key: round(statistics.median(spent[source]) / len(written) * 1e6, 2) for key, source in (("plain", plain), ("captured", captured))}
        print(json.dumps({"way": name, "rows": len(written), **micros, "ratio": round(ratio, 3)}), flush=True)


main()
