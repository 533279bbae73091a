"""Tables that several tests use."""

import datetime as dt

import numpy as np
import polars as pl


def houses(n=200, seed=0):
    """A table with a column of every kind, and a price that follows from them."""
    rng = np.random.default_rng(seed)
    area, rooms = rng.uniform(30, 200, n).round(1), rng.integers(1, 8, n)
    town = rng.choice(["Aachen", "Bonn", "Celle"], n, p=[0.5, 0.3, 0.2])
    garden = rng.choice([True, False], n)
    built = [dt.date(1950, 1, 1) + dt.timedelta(int(d)) for d in rng.integers(0, 25_000, n)]
    price = 2.0 * area + 10 * rooms + 50 * (town == "Bonn") + 30 * garden + rng.normal(0, 5, n)
    return pl.DataFrame(
        {
            "id": np.arange(1, n + 1),
            "area": pl.Series(area).set(pl.Series(rng.random(n) < 0.1), None),
            "rooms": rooms,
            "town": town,
            "garden": garden,
            "built": built,
            "country": ["Germany"] * n,
            "price": price.round(2),
        }
    )


def texts(frame):
    """The same as a CSV file would give it."""
    return frame.select(pl.all().cast(pl.String))
