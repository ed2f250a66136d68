"""Ways in which Python programs bring rows into PostgreSQL: peers of scripts/compare.

    postgres_ways.py WAY URL FILE LIMIT

WAY is one of those at the end of this file. FILE holds the rows as CSV with a head; LIMIT is how many of them to write,
from the first on. The rows are in memory when the clock starts, and it stops when the last commit has returned. Prints
JSON: rows, seconds, with. What stands in the table afterwards is checked by whoever started this.
"""

import asyncio
import csv
import datetime
import itertools
import json
import sys
import time

COLUMNS = ("id", "station", "site_id", "measured_at", "temperature", "humidity", "pressure", "note")
# Rows to a commit: as many as the station's own writer commits at once.
COMMIT = 50_000


def read(path, limit):
    """The rows as tuples of Python's own types."""
    kinds = (int, int, int, datetime.datetime.fromisoformat, float, float, float, str)
    with open(path, encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        assert tuple(next(rows)) == COLUMNS
        return [tuple(kind(text) if text else None for kind, text in zip(kinds, row)) for row in itertools.islice(rows, limit)]


def engine_of(url):
    from sqlalchemy import create_engine

    return create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))


def model():
    """The table as a mapped class; the key is what both sides name a row by."""
    from sqlalchemy import BigInteger, DateTime, Float, Integer, String
    from sqlalchemy.orm import DeclarativeBase, mapped_column

    class Base(DeclarativeBase):
        pass

    kinds = (BigInteger, Integer, BigInteger, DateTime(timezone=True), Float, Float, Float, String)
    columns = {name: mapped_column(kind, primary_key=name == "id") for name, kind in zip(COLUMNS, kinds)}
    return type("Reading", (Base,), {"__tablename__": "reading", "__table_args__": {"schema": "bench"}, **columns})


def sqlalchemy_bulk(url, rows):
    """`execute(insert(table), rows)`: many rows to a statement, as SQLAlchemy's manual says for bulk."""
    from sqlalchemy import insert

    table, engine = model().__table__, engine_of(url)
    rows = [dict(zip(COLUMNS, row)) for row in rows]
    with engine.connect() as warm:
        warm.rollback()
    begin = time.monotonic()
    for batch in batches(rows):
        with engine.begin() as db:
            db.execute(insert(table), batch)
    return time.monotonic() - begin


def sqlalchemy_orm(url, rows):
    """Objects added to a session, which the unit of work writes."""
    from sqlalchemy.orm import Session

    reading, engine = model(), engine_of(url)
    with engine.connect() as warm:
        warm.rollback()
    begin = time.monotonic()
    for batch in batches(rows):
        with Session(engine) as session:
            session.add_all([reading(**dict(zip(COLUMNS, row))) for row in batch])
            session.commit()
    return time.monotonic() - begin


def asyncpg_copy(url, rows, conflict="DO NOTHING"):
    """COPY into a temporary table and INSERT … SELECT … ON CONFLICT out of it: a second try doubles nothing."""
    return asyncio.run(copied(url, rows, conflict))


def asyncpg_upsert(url, rows):
    """The same with DO UPDATE: the rows are there already, and have been edited."""
    others = [name for name in COLUMNS if name not in ("id", "measured_at")]
    return asyncpg_copy(url, rows, "DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in others))


async def copied(url, rows, conflict):
    import asyncpg

    db = await asyncpg.connect(url)
    try:
        names = ", ".join(COLUMNS)
        begin = time.monotonic()
        await db.execute(f"CREATE TEMPORARY TABLE fresh AS SELECT {names} FROM bench.reading WITH NO DATA")
        for batch in batches(rows):
            async with db.transaction():
                await db.execute("TRUNCATE fresh")
                await db.copy_records_to_table("fresh", records=batch, columns=COLUMNS)
                await db.execute(
                    f"INSERT INTO bench.reading ({names}) SELECT {names} FROM fresh ON CONFLICT (id, measured_at) {conflict}"
                )
        return time.monotonic() - begin
    finally:
        await db.close()


def batches(rows):
    return (rows[at : at + COMMIT] for at in range(0, len(rows), COMMIT))


def versions(*names):
    from importlib.metadata import version

    return " ".join(f"{name} {version(name)}" for name in names)


WAYS = {
    "sqlalchemy-bulk": (sqlalchemy_bulk, ("SQLAlchemy", "psycopg")),
    "sqlalchemy-orm": (sqlalchemy_orm, ("SQLAlchemy", "psycopg")),
    "asyncpg-copy": (asyncpg_copy, ("asyncpg",)),
    "asyncpg-upsert": (asyncpg_upsert, ("asyncpg",)),
}


def main():
    way, url, path, limit = sys.argv[1:5]
    run, packages = WAYS[way]
    rows = read(path, int(limit))
    seconds = run(url, rows)
    print(json.dumps({"rows": len(rows), "seconds": seconds, "with": versions(*packages)}))


main()
