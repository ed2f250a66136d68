"""Writes to a station's file through SQLAlchemy's ORM; the tables are reflected from the file as they are."""

import datetime
import sys

import sqlalchemy
from sqlalchemy import select, update
from sqlalchemy.ext.automap import automap_base
from sqlalchemy.orm import Session

engine = sqlalchemy.create_engine("sqlite:///" + sys.argv[1], connect_args={"timeout": 20})
base = automap_base()
# Tidemark's own tables are none of this program's business, but reflecting them too must not hurt.
base.prepare(autoload_with=engine)
Product = base.classes.nomenclature
Source = base.classes.source_data
Record = base.classes.calculation_data
Model = base.classes.models
Coefficient = base.classes.coefficients

moment = datetime.datetime(2025, 4, 1, 6, 0, 0, 7)
with Session(engine) as session:
    source = Source(file_name="остатки.xlsx", file_path="/данные/остатки.xlsx", upload_date=moment, processed=False)
    fish = [Product(name=name, created_date=moment) for name in ("СИНЕЦ ВЯЛЕНЫЙ", "СКУМБРИЯ Х/К", "УДАЛИТЬ")]
    model = Model(name="линейная", model_type="linear")
    session.add_all([source, model, *fish])
    session.flush()
    for product, initial, final in ((fish[0], 1.2, 1.092), (fish[1], 5.0, 4.75)):
        record = Record(
            source_data_id=source.id,
            nomenclature_id=product.id,
            initial_balance=initial,
            incoming=0,
            outgoing=0,
            final_balance=final,
            storage_days=7,
            calculation_date=moment,
            adjusted_shrinkage_rate=(initial - final) / initial,
            is_valid_inventory_period=True,
            fifo_batch_sequence=[{"партия": "А", "кг": initial}],
        )
        session.add(record)
        session.flush()
        rate = (initial - final) / initial
        session.add(Coefficient(calculation_data_id=record.id, model_id=model.id, coefficient_a=rate / 7, accuracy_r2=1.0))
    session.commit()

    fish[1].name += " (исправлено) 🐟"
    source.processed = True
    session.delete(fish[2])
    # Another time is another chunk upstream.
    session.execute(
        update(Record).where(Record.source_data_id == source.id).values(calculation_date=moment + datetime.timedelta(days=40))
    )
    session.commit()

    session.add(Product(name="ОТКАТ"))
    session.flush()
    session.rollback()

    # What the database filled in reads back as the types the models mean.
    stored = session.scalars(select(Coefficient).where(Coefficient.model_id == model.id)).first()
    assert isinstance(stored.calculation_date, datetime.datetime), stored.calculation_date
    record = session.scalars(select(Record).where(Record.source_data_id == source.id)).first()
    assert record.fifo_batch_sequence == [{"партия": "А", "кг": 1.2}], record.fifo_batch_sequence
    assert record.is_valid_inventory_period is True, record.is_valid_inventory_period
    assert record.calculation_date == moment + datetime.timedelta(days=40), record.calculation_date
print("SQLAlchemy", sqlalchemy.__version__, "wrote through", len(base.classes), "reflected classes")
