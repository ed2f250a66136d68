"""The move as it is done by hand: 18 CSV files out of the SQLite file, each read with pandas and written with `to_sql`.

    pandas_way.py FILE URL FOLDER [--multi]

The tables are there already, with the same columns, keys and hypertables as Tidemark's. `--multi` is what pandas' own manual says is
faster: method="multi" with a chunksize. Prints JSON: rows, and seconds for each step.
"""

import json
import pathlib
import sys
import time

import pandas
from sqlalchemy import Boolean, DateTime, Float, Integer, create_engine

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "e2e/tests/python"))
from shrinkage_system import database, models  # noqa: E402


def main():
    file, url, folder = sys.argv[1:4]
    how = {"method": "multi", "chunksize": 1000} if "--multi" in sys.argv[4:] else {}
    _, classes = models()
    begin = time.monotonic()
    here = create_engine("sqlite:///" + file)
    for name in classes:
        pandas.read_sql_query(f"SELECT * FROM {name}", here).to_csv(f"{folder}/{name}.csv", index=False)
    exported = time.monotonic()
    # SQLAlchemy's own settings, but for where the tables are and what a time without a zone means.
    there = create_engine(database.make_engine(url).url, connect_args={"options": "-c search_path=shrinkage -c timezone=UTC"})
    rows, reading = 0, 0.0
    for name, cls in classes.items():
        started = time.monotonic()
        columns = cls.__table__.columns
        # A text that is empty stays one; an empty number is none.
        numbers = {c.name: [""] for c in columns if isinstance(c.type, (Integer, Float, Boolean, DateTime))}
        dates = [c.name for c in columns if isinstance(c.type, DateTime)]
        texts = {c.name: str for c in columns if c.name not in numbers}
        table = pandas.read_csv(f"{folder}/{name}.csv", keep_default_na=False, na_values=numbers, dtype=texts)
        for column in dates:
            table[column] = pandas.to_datetime(table[column], format="ISO8601")
        for c in columns:
            if isinstance(c.type, Boolean):
                table[c.name] = table[c.name].astype("boolean")
            elif isinstance(c.type, Integer):
                table[c.name] = table[c.name].astype("Int64")
            elif c.type.__class__.__name__ == "JSON":
                table[c.name] = table[c.name].where(table[c.name] != "", None)
        reading += time.monotonic() - started
        table.to_sql(name, there, if_exists="append", index=False, **how)
        rows += len(table)
    ended = time.monotonic()
    seconds = {"csv": exported - begin, "read": reading, "to_sql": ended - exported - reading, "all": ended - begin}
    print(json.dumps({"rows": rows, **seconds}))


main()
