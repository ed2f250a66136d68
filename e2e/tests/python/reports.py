"""The reports, computed another way: row by row from the stations' own files, with nothing of Tidemark.

python reports.py --since DAY --until DAY FILE...  prints one JSON object.
"""

import argparse
import datetime
import json
import math
import sqlite3
from collections import defaultdict


def mean(values):
    return math.fsum(values) / len(values) if values else None


def day_of(text):
    return text[:10]


def slope_of(points):
    """Least squares over (day number, value), one point a value."""
    x_mean, y_mean = mean([x for x, _ in points]), mean([y for _, y in points])
    covariance = math.fsum((x - x_mean) * (y - y_mean) for x, y in points)
    variance = math.fsum((x - x_mean) ** 2 for x, _ in points)
    return covariance / variance


def trend_of(points):
    days = [day for day, _ in points]
    if len(points) < 3 or min(days) == max(days):
        return "unknown", None
    slope = slope_of(points)
    change = slope * (max(days) - min(days))
    return ("improving" if change > 0.01 else "deteriorating" if change < -0.01 else "stable"), slope


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--since", required=True)
    parser.add_argument("--until", required=True)
    parser.add_argument("files", nargs="+")
    args = parser.parse_args()

    stations, calculations, errors = defaultdict(set), defaultdict(int), defaultdict(int)
    accuracies, rates, losses, days = defaultdict(list), defaultdict(list), defaultdict(list), defaultdict(list)
    models = {}
    by_model, products_of = defaultdict(list), defaultdict(set)
    fits_of, rows = defaultdict(int), defaultdict(list)
    for file in args.files:
        db = sqlite3.connect(file)
        names = dict(db.execute("SELECT id, name FROM nomenclature"))
        kinds = {key: (name, kind) for key, name, kind in db.execute("SELECT id, name, model_type FROM models")}
        for name, kind in kinds.values():
            models[name] = min(models.get(name, kind), kind)
        for name in names.values():
            stations[name].add(file)
        product_of = {}
        query = "SELECT id, nomenclature_id, initial_balance, incoming, outgoing, final_balance, calculation_date FROM calculation_data"
        for key, product, initial, incoming, outgoing, final, date in db.execute(query):
            name = product_of[key] = names.get(product)
            if name is None:
                continue
            calculations[name] += 1
            days[name].append(day_of(date))
            if initial is not None and final is not None and initial >= 1e-6:
                losses[name].append(initial + (incoming or 0) - (outgoing or 0) - final)
                rates[name].append(losses[name][-1] / initial)
        for (calculation,) in db.execute("SELECT calculation_data_id FROM validation_errors"):
            errors[product_of.get(calculation)] += 1
        query = """SELECT calculation_data_id, model_id, coefficient_a, coefficient_b, coefficient_c, accuracy_r2, calculation_date
            FROM coefficients"""
        for calculation, model, a, b, c, accuracy, date in db.execute(query):
            product, model = product_of.get(calculation), kinds.get(model, (None,))[0]
            if model is not None:
                fits_of[model] += 1
                if product is not None:
                    products_of[model].add(product)
                if accuracy is not None:
                    by_model[model].append(accuracy)
            if product is not None:
                if accuracy is not None:
                    accuracies[product].append(accuracy)
                if args.since <= day_of(date) <= args.until:
                    rows[product].append((day_of(date), model, a, b, c, accuracy))

    def trend(product):
        those = rows[product]
        by_day = defaultdict(list)
        for row in those:
            by_day[row[0], row[1]].append(row)
        number = lambda day: datetime.date.fromisoformat(day).toordinal()
        word, slope = trend_of([(number(row[0]), row[5]) for row in those if row[5] is not None])
        column = lambda those, at: mean([row[at] for row in those if row[at] is not None])
        means = lambda those: {
            "calculations": len(those),
            "accuracy": column(those, 5), "a": column(those, 2), "b": column(those, 3), "c": column(those, 4),
        }
        return {
            "points": [{"day": day, "model": model, **means(by_day[day, model])} for day, model in sorted(by_day)],
            "means": means(those), "trend": word, "slope_per_day": slope,
        }

    products = {
        name: {
            "stations": len(stations[name]), "calculations": calculations[name], "mean_accuracy": mean(accuracies[name]),
            "validation_errors": errors[name], "mean_rate": mean(rates[name]),
            "mean_loss_kg": mean(losses[name]), "loss_kg": math.fsum(losses[name]) if losses[name] else None,
            "first_day": min(days[name], default=None), "last_day": max(days[name], default=None),
        }
        for name in stations
    }
    print(json.dumps({
        "products": products,
        "models": {
            name: {
                "model_type": models[name], "calculations": fits_of[name], "products": len(products_of[name]),
                "mean_accuracy": mean(by_model[name]),
            }
            for name in models
        },
        "trends": {name: trend(name) for name in stations},
    }))


if __name__ == "__main__":
    main()
