"""The system's own models on the PostgreSQL upstream: headquarters reads everything and writes rows of its own.

    headquarters.py crud URL               creates, reads, updates and deletes in all 18 tables
    headquarters.py reads URL FILE NUMBER  compares what station NUMBER pushed with its own file, cell by cell
    headquarters.py own URL ROUNDS         the system's own program, with headquarters' rows
    headquarters.py meddle URL             changes a station's row, which is not headquarters' to change
    headquarters.py errors                 what is said about URLs that name no database
"""

import datetime
import random
import sys

from shrinkage_system import TYPES, database, models, value, work
from sqlalchemy import DateTime, func, insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

BLOCK = 2**32


def crud(url):
    """All of what a program does, in every table."""
    dice = random.Random(3)
    _, classes = models()
    engine = database.make_engine(url)
    ids = {name: [] for name in classes}
    with Session(engine) as session:
        for name, cls in classes.items():
            columns = [c for c in cls.__table__.columns if c.name != "id"]
            for n in range(5):
                row = cls(**{c.name: value(dice, c, ids, n) for c in columns})
                session.add(row)
                session.flush()
                assert 1 <= row.id < BLOCK and database.is_headquarters(row.id), (name, row.id)
                ids[name].append(row.id)
            # Many at once, as programs load files.
            made = session.scalars(
                insert(cls).returning(cls.id), [{c.name: value(dice, c, ids, n) for c in columns} for n in range(30)]
            ).all()
            assert len(set(made)) == 30 and all(0 < id < BLOCK for id in made), (name, made)
            ids[name] += made
        session.commit()
    with Session(engine) as session:
        for name, cls in classes.items():
            stations = session.execute(text(f"SELECT DISTINCT station FROM {name} WHERE id < {BLOCK}")).scalars().all()
            assert stations == [0], (name, stations)
            row = session.get(cls, ids[name][0])
            before = {c.name: getattr(row, c.name) for c in cls.__table__.columns}
            for c in cls.__table__.columns:
                there = before[c.name]
                if isinstance(c.type, DateTime) and there is not None:
                    assert there.tzinfo is None, (name, c.name, there)
                    # A time is found by itself, and by what is just before and after it.
                    tick = datetime.timedelta(microseconds=1)
                    found = select(func.count()).select_from(cls).where(cls.id == row.id)
                    assert session.scalar(found.where(c == there)) == 1, (name, c.name, there)
                    assert session.scalar(found.where(c > there - tick, c < there + tick)) == 1, (name, c.name, there)
                elif there is not None:
                    wanted = {"j": (dict, list, int, str)}.get(next(k for k, t in TYPES.items() if isinstance(c.type, t)))
                    assert isinstance(there, wanted or c.type.python_type), (name, c.name, there)
            # Every column but the key is changed, NULL where it may be.
            for turn in (False, True):
                for c in cls.__table__.columns:
                    if c.name != "id":
                        time = c.name == "calculation_date" or c.name == "forecast_date" or c.name == "process_timestamp"
                        new = value(dice, c, ids, 77) if turn or not c.nullable or time else None
                        setattr(row, c.name, new)
                wanted = {c.name: getattr(row, c.name) for c in cls.__table__.columns}
                session.commit()
                session.expire_all()
                there = {c.name: getattr(session.get(cls, ids[name][0]), c.name) for c in cls.__table__.columns}
                # None in a JSON column is the JSON value null, on both databases.
                assert there == wanted, (name, there, wanted)
        # Joins and relations over three tables, two of them hypertables.
        c, r, p = classes["coefficients"], classes["calculation_data"], classes["nomenclature"]
        joined = select(c.id, r.calculation_date, p.name).join(r, c.calculation_data_id == r.id).join(p, r.nomenclature_id == p.id)
        assert len(session.execute(joined).all()) > 0
        counted = session.execute(select(p.name, func.count(r.id)).join(r).group_by(p.name).order_by(p.name)).all()
        assert sum(n for _, n in counted) == session.scalar(select(func.count(r.id)).where(r.nomenclature_id.is_not(None)))
        # What others hang on is let go first: between tables without a time column the database refuses to delete it, unlike SQLite.
        for name, cls in reversed(classes.items()):
            gone = session.get(cls, ids[name][-1])
            for child in classes.values():
                for f in child.__table__.foreign_keys:
                    if f.column.table.name == name:
                        session.execute(child.__table__.update().where(f.parent == gone.id).values({f.parent.name: None}))
            session.delete(gone)
            session.flush()
            assert session.get(cls, ids[name][-1]) is None, name
        session.rollback()
        assert session.get(cls, ids[name][-1]) is not None
        parent = session.scalar(select(classes["surplus_patterns"].nomenclature_id).where(classes["surplus_patterns"].nomenclature_id < BLOCK))
        try:
            session.execute(p.__table__.delete().where(p.id == parent))
        except IntegrityError:
            session.rollback()
        else:
            raise AssertionError("a product was deleted that patterns name")
        # What names a row of a table with a time column may name none, as on SQLite, and is read like any other.
        orphan = c(calculation_data_id=BLOCK - 1, coefficient_a=0.5)
        session.add(orphan)
        session.flush()
        outer = select(c.coefficient_a, r.id).outerjoin(r, c.calculation_data_id == r.id).where(c.id == orphan.id)
        assert session.execute(outer).one() == (0.5, None)
        session.rollback()
    print(f"{len(classes)} tables: {sum(map(len, ids.values()))} rows")


def reads(url, file, number):
    """Every row of a station reads as in its own file."""
    _, classes = models()
    base = number * BLOCK
    cells = 0
    with Session(database.make_engine(url)) as up, Session(database.make_engine("sqlite:///" + file)) as own:
        for name, cls in classes.items():
            table = cls.__table__
            moved = {c.name for c in table.columns if c.name == "id" or c.foreign_keys}
            there = {}
            for row in up.execute(select(table).where(table.c.id > base, table.c.id < base + BLOCK)).mappings():
                there[row["id"] - base] = {k: v - base if k in moved and v is not None else v for k, v in row.items()}
            here = {row["id"]: dict(row) for row in own.execute(select(table)).mappings()}
            assert repr(sorted(there.items())) == repr(sorted(here.items())), first_difference(name, here, there)
            cells += sum(map(len, here.values()))
        orphans = up.scalar(
            select(func.count())
            .select_from(classes["coefficients"])
            .where(~select(classes["calculation_data"].id).where(
                classes["calculation_data"].id == classes["coefficients"].calculation_data_id).exists(),
                classes["coefficients"].calculation_data_id.is_not(None))
        )
        print(f"equal: {cells} cells; {orphans} coefficients without their record")


def first_difference(name, here, there):
    for id in sorted(here.keys() | there.keys()):
        if repr(here.get(id)) != repr(there.get(id)):
            return name, id, here.get(id), there.get(id)
    return None


def meddle(url):
    _, classes = models()
    with Session(database.make_engine(url)) as session:
        row = session.get(classes["nomenclature"], BLOCK + 1)
        assert not database.is_headquarters(row.id)
        row.validation_flags = "changed by headquarters"
        session.commit()


def errors():
    for url in (
        "mysql://user:Ebb7@host/db", "postgresql://user:Ebb7@host", "postgresql://user:Ebb7@x@host/db", "plant.db", "", "sqlite:///",
        "postgresql://user:Ebb7/Flow@host:notaport/db", "oracle://u:Ebb7@h/x?password=Ebb7",
    ):
        try:
            database.make_engine(url)
        except ValueError as error:
            assert "names no database: use sqlite:///file.db" in str(error), error
            assert "Ebb7" not in str(error), error
        else:
            raise AssertionError(url)
    engine = database.make_engine("postgres://user:Ebb7@host/db")
    assert "Ebb7" not in repr(engine.url) and engine.pool.size() == 10 and engine.pool._max_overflow == 20
    assert database.make_engine().url.database == "shrinkage.db"
    print("8 URLs refused")


if __name__ == "__main__":
    verb, *args = sys.argv[1:]
    if verb == "own":
        work(args[0], int(args[1]), below=BLOCK)
    elif verb == "reads":
        reads(args[0], args[1], int(args[2]))
    else:
        {"crud": crud, "meddle": meddle, "errors": errors}[verb](*args)
