"""The shrinkage system as it is without Tidemark: SQLAlchemy models of its 18 tables over one SQLite file.

    shrinkage_system.py make FILE --rows N [--quirks] [--old]    makes the database: about N rows over all tables
    shrinkage_system.py work FILE|URL --rounds N|--until STOP    creates, reads, updates and deletes in every table, round after round,
                                                                 so many or until there is a file STOP
    shrinkage_system.py compare FILE FILE [--without TABLE:ID]…  reads both with the models and compares every cell

Everything is drawn from a fixed seed. `--quirks` adds what such files are found to hold: times without a fraction, NULL times, orphans, broken
JSON, integers in Float columns, long texts, tables of others. `--old` makes the database as an earlier version of the system did: without some
of the columns and one of the tables.
"""

import argparse
import datetime
import pathlib
import random
import sys
import time

from sqlalchemy import JSON, Boolean, DateTime, Float, ForeignKey, Integer, String, create_engine, delete, func, insert, select, text
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

# What a plant copies of Tidemark's examples when it moves.
sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "examples/python"))
import database  # noqa: E402

TYPES = {"i": Integer, "f": Float, "s": String, "b": Boolean, "t": DateTime, "j": JSON}


def utcnow():
    return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)


# table: column:type, ":>table" a reference, "!" NOT NULL, "=" the default that the program fills in
TABLES = """
source_data: file_name:s! file_path:s! upload_date:t=now file_hash:s processed:b=0 quality_score:f
nomenclature: name:s! product_type:s product_type_code:s created_date:t=now validation_flags:s
models: name:s! model_type:s description:s version:s created_date:t=now
calculation_data: source_data_id:>source_data nomenclature_id:>nomenclature initial_balance:f incoming:f outgoing:f final_balance:f
    storage_days:i calculation_date:t=now data_quality_flag:s inventory_confidence:f inventory_period_start:t inventory_period_end:t
    is_valid_inventory_period:b is_preliminary_forecast:b preliminary_period_end:t human_error_probability:f validation_errors:s
    manual_review_required:b pre_shrinkage_days:i pre_shrinkage_amount:f adjusted_shrinkage_rate:f inventory_shrinkage_total:f
    actual_deduction_batch:s fifo_principle_applied:b fifo_batch_sequence:j
coefficients: calculation_data_id:>calculation_data model_id:>models coefficient_a:f coefficient_b:f coefficient_c:f accuracy_r2:f
    calculation_date:t=now adjusted_for_pre_shrinkage:b pre_shrinkage_factor:f effective_shrinkage_rate:f
forecasts: coefficient_id:>coefficients forecast_value:f actual_value:f deviation:f forecast_date:t=now
preliminary_forecasts: calculation_data_id:>calculation_data forecast_model_id:>models forecast_period_days:i expected_shrinkage:f
    confidence_level:f forecast_date:t=now actual_shrinkage:f forecast_accuracy:f notes:s pre_shrinkage_adjusted:b
    adjusted_expected_shrinkage:f batch_storage_history:j
analytics: nomenclature_id:>nomenclature model_id:>models avg_accuracy:f total_calculations:i period_start:t period_end:t last_updated:t=now
ai_patterns: pattern_type:s description:s confidence_level:f affected_nomenclature:s discovery_date:t=now pattern_data:j
validation_errors: calculation_data_id:>calculation_data error_type:s description:s severity_level:s detected_by:s detection_date:t=now
    resolved:b=0 resolution_date:t notes:s
priority_periods: period_start:t period_end:t priority_level:i description:s created_by:s created_date:t=now active:b=1
surplus_specifications: nomenclature_id:>nomenclature surplus_percentage:f specification_start_date:t specification_end_date:t
    is_active:b=1 created_date:t=now created_by:s notes:s
surplus_recommendations: nomenclature_id:>nomenclature recommended_surplus_percentage:f confidence_level:f analysis_period_start:t
    analysis_period_end:t calculation_method:s supporting_data:j created_date:t=now is_accepted:b=0 acceptance_date:t
surplus_patterns: nomenclature_id:>nomenclature product_type:s surplus_percentage:f pattern_condition:s is_active:b=1 created_date:t=now
    created_from_recommendation_id:>surplus_recommendations validation_count:i=0 last_validated_date:t confidence_level:f
    feedback_count:i=0 last_feedback_date:t
pattern_validations: surplus_pattern_id:>surplus_patterns validation_date:t=now actual_surplus_percentage:f
    predicted_surplus_percentage:f deviation:f validation_result:s user_feedback:s is_confirmed:b=0 confirmation_date:t
feedback_preferences: feedback_frequency:s auto_confirm_threshold:f is_active:b=1 created_date:t=now updated_date:t=now
data_lineage: source_file_id:>source_data calculation_data_id:>calculation_data process_name:s process_timestamp:t=now user_id:s
    input_records:i output_records:i status:s error_message:s execution_time_ms:i version:s
ml_model_registry: model_name:s version:s algorithm_type:s parameters:j training_date:t accuracy_metrics:j is_active:b=1 created_by:s
    created_date:t=now notes:s
"""
# What an earlier version did not have.
NEWER = {"preliminary_forecasts": {"batch_storage_history", "adjusted_expected_shrinkage"}, "coefficients": {"pre_shrinkage_factor"}}
NEWER_TABLES = {"ml_model_registry"}


def models(old=False):
    """The mapped classes by table, parents first."""

    class Base(DeclarativeBase):
        pass

    classes = {}
    for entry in TABLES.strip().replace("\n    ", " ").splitlines():
        table, _, columns = entry.partition(": ")
        if old and table in NEWER_TABLES:
            continue
        members = {"__tablename__": table, "id": mapped_column(Integer, primary_key=True, autoincrement=True)}
        for column in columns.split():
            name, _, kind = column.partition(":")
            if old and name in NEWER.get(table, ()):
                continue
            kind, _, default = kind.partition("=")
            args = [Integer, ForeignKey(f"{kind[1:]}.id")] if kind.startswith(">") else [TYPES[kind[0]]]
            options = {"nullable": not kind.endswith("!")}
            if default:
                options["default"] = utcnow if default == "now" else bool(int(default)) if kind[0] == "b" else int(default)
            members[name] = mapped_column(*args, **options)
        classes[table] = type(table, (Base,), members)
    return Base, classes


FISH = ["СИНЕЦ ВЯЛЕНЫЙ", "СКУМБРИЯ Х/К", "ЛЕЩ КОПЧЁНЫЙ", "ЁРШ", "Щука «речная» 🐟", "ВОБЛА\tвес", "O'Brien's herring", ""]
START = datetime.datetime(2023, 1, 1, 6)


def value(dice, column, ids, n):
    """A value of a column; NULL now and then."""
    if column.foreign_keys:
        parent = next(iter(column.foreign_keys)).column.table.name
        return dice.choice(ids[parent]) if ids.get(parent) and dice.random() < 0.97 else None
    if column.nullable and dice.random() < 0.08 and column.name not in TIMES:
        return None
    kind = column.type
    if isinstance(kind, Boolean):
        return dice.random() < 0.5
    if isinstance(kind, Integer):
        return dice.randrange(0, 400)
    if isinstance(kind, Float):
        return dice.choice([0.0, 0.1 + 0.2, 1.2, 1.092, -3.5e-7, dice.uniform(0, 5000)])
    if isinstance(kind, DateTime):
        return START + datetime.timedelta(seconds=n * 60, microseconds=dice.choice([0, 1, 999999, dice.randrange(10**6)]))
    if isinstance(kind, JSON):
        return dice.choice([[], {"партия": "А", "кг": dice.uniform(0, 9)}, [1, None, "x", {"a": [True]}], 7, "строка"])
    if column.name == "name":
        return dice.choice(FISH)
    return dice.choice(["linear", "exponential", "ok", "", "предупреждение", "a, b; \"c\"\n", f"n{n}"])


TIMES = {"calculation_date", "forecast_date", "process_timestamp"}
SHARES = {"calculation_data": 30, "coefficients": 25, "forecasts": 15, "preliminary_forecasts": 8, "data_lineage": 8}


def make(path, rows, quirks, old):
    dice = random.Random(18)
    base, classes = models(old)
    engine = create_engine("sqlite:///" + path)
    base.metadata.create_all(engine)
    ids = {}
    with engine.begin() as db:
        for name, cls in classes.items():
            # One table stays empty.
            count = 0 if name == "feedback_preferences" else max(3, rows * SHARES.get(name, 1) // 100)
            table = cls.__table__
            for begin in range(0, count, 20_000):
                batch = range(begin, min(begin + 20_000, count))
                db.execute(insert(table), [{c.name: value(dice, c, ids, n) for c in table.columns if c.name != "id"} for n in batch])
            # Ids have holes.
            ids[name] = list(range(1, count + 1))
            if name not in ("nomenclature", "source_data", "models") and count > 10:
                gone = dice.sample(ids[name], count // 50)
                db.execute(text(f"DELETE FROM {name} WHERE id = :id"), [{"id": id} for id in gone] or [{"id": -1}])
                ids[name] = sorted(set(ids[name]) - set(gone))
        db.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"))
        db.execute(text("INSERT INTO alembic_version VALUES ('9d1c3f00aa55')"))
        if quirks:
            for statement in QUIRKS.split(";\n"):
                db.execute(text(statement.strip()))
            db.execute(text("UPDATE ai_patterns SET description = :long WHERE id = 1"), {"long": "ю" * 40_000})
    engine.dispose()


QUIRKS = """
CREATE TABLE user_settings (id INTEGER PRIMARY KEY, theme TEXT);
INSERT INTO user_settings VALUES (1, 'dark');
ALTER TABLE models ADD COLUMN legacy_flag VARCHAR(5);
UPDATE models SET legacy_flag = 'yes' WHERE id = 1;
UPDATE nomenclature SET created_date = '2024-03-01 10:00:00' WHERE id = 1;
UPDATE calculation_data SET calculation_date = '2024-03-01 10:00:00' WHERE id = (SELECT min(id) FROM calculation_data);
UPDATE calculation_data SET final_balance = CAST(4 AS INTEGER), incoming = 0 WHERE id = (SELECT min(id) FROM calculation_data);
INSERT INTO calculation_data (id, nomenclature_id, initial_balance, calculation_date) VALUES (900000001, 1, 1.5, NULL);
INSERT INTO calculation_data (id, nomenclature_id, initial_balance, calculation_date) VALUES (900000002, 777777, 1.5, '2024-03-01 10:00:00.5');
INSERT INTO calculation_data (id, nomenclature_id, fifo_batch_sequence, calculation_date) VALUES (900000003, 1, '{broken', '2024-03-01 10:00:00.000001');
INSERT INTO coefficients (id, calculation_data_id, model_id, calculation_date) VALUES (900000004, 900000001, 1, '2024-03-02 00:00:00.000000');
INSERT INTO forecasts (id, forecast_value, forecast_date) VALUES (900000005, 'a lot', '2024-03-02 00:00:00.000000');
INSERT INTO data_lineage (id, process_name, process_timestamp) VALUES (900000006, 'in the far future', '2999-01-01 00:00:00.000000')
"""


def work(path, rounds, below=2**63 - 1, until=None):
    """Creates, reads, updates and deletes in every table, with the driver's own timeouts: a write that is refused ends the program.

    Only rows with ids below `below` are changed or deleted.
    """
    dice = random.Random(7)
    _, classes = models()
    engine = database.make_engine(path if "://" in path else "sqlite:///" + path)
    n = 0
    while not pathlib.Path(until).exists() if until else n < rounds:
        n += 1
        with Session(engine) as session:
            own = {name: cls.id < below for name, cls in classes.items()}
            ids = {
                name: list(session.scalars(select(cls.id).where(own[name]).order_by(cls.id.desc()).limit(20))) for name, cls in classes.items()
            }
            for name, cls in classes.items():
                table = cls.__table__
                row = cls(**{c.name: value(dice, c, ids, n) for c in table.columns if c.name != "id" and dice.random() < 0.8 or not c.nullable and c.name != "id"})
                session.add(row)
                session.flush()
                ids[name].append(row.id)
                # An old row and a new one are changed; nothing that others hang on is deleted.
                for id in (dice.choice(ids[name]), session.scalar(select(func.min(cls.id)).where(own[name]))):
                    there = session.get(cls, id)
                    column = dice.choice([c for c in table.columns if c.name != "id" and not c.foreign_keys and c.name not in TIMES])
                    setattr(there, column.name, value(dice, column, ids, n))
            for name in ("forecasts", "data_lineage", "validation_errors", "pattern_validations", "preliminary_forecasts"):
                cls = classes[name]
                session.execute(delete(cls).where(cls.id.in_(dice.sample(ids[name], 1) + [session.scalar(select(func.max(cls.id)).where(own[name]))])))
            if dice.random() < 0.1:
                session.rollback()
            else:
                session.commit()
        time.sleep(0.002)
    print(f"{n} rounds")


def compare(path, other, without):
    """Every cell of 18 tables, as the models read them; rows named in `without` may be missing in the second file."""
    _, classes = models()
    left_out = {name: [int(id) for of, _, id in (word.partition(":") for word in without) if of == name] for name in classes}
    rows = cells = 0
    with Session(create_engine("sqlite:///" + path)) as here, Session(create_engine("sqlite:///" + other)) as there:
        for name, cls in classes.items():
            wanted = select(cls).where(cls.id.not_in(left_out[name])).order_by(cls.id).execution_options(yield_per=5000)
            these, those = (iter(session.scalars(query)) for session, query in ((here, wanted), (there, select(cls).order_by(cls.id))))
            while True:
                this, that = next(these, None), next(those, None)
                if this is None and that is None:
                    break
                shown = [row and {c.name: getattr(row, c.name) for c in cls.__table__.columns} for row in (this, that)]
                # By their text: 1, 1.0 and True are different.
                if repr(shown[0]) != repr(shown[1]):
                    raise SystemExit(f"{name} differs:\n{shown[0]}\n{shown[1]}")
                rows, cells = rows + 1, cells + len(shown[0])
    print(f"equal: {rows} rows, {cells} cells")


def main():
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(dest="verb", required=True)
    made = verbs.add_parser("make")
    made.add_argument("file")
    made.add_argument("--rows", type=int, default=2000)
    made.add_argument("--quirks", action="store_true")
    made.add_argument("--old", action="store_true")
    worked = verbs.add_parser("work")
    worked.add_argument("file")
    worked.add_argument("--rounds", type=int, default=50)
    worked.add_argument("--until")
    compared = verbs.add_parser("compare")
    compared.add_argument("file")
    compared.add_argument("other")
    compared.add_argument("--without", action="append", default=[])
    args = parser.parse_args()
    if args.verb == "make":
        make(args.file, args.rows, args.quirks, args.old)
    elif args.verb == "compare":
        compare(args.file, args.other, args.without)
    else:
        work(args.file, args.rounds, until=args.until)


if __name__ == "__main__":
    sys.exit(main())
