"""The anomalies of the `realistic` profile, in three kinds.

- point: one value far from what the order's own facts make of it, as in the `classic` profile;
- contextual: values that are usual, but elsewhere: every single value lies within the bulk of the normal rows' values;
- collective: rows that are odd together: a supplier drifting for weeks, a reading that repeats itself, orders entered
  again.

Each kind is a third of the anomalies, each type of a kind as frequent as the others, as far as the rows allow; what
they do not allow becomes point anomalies, which fit any row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from anomaly_detection.synthetic.realistic_catalogue import MODES, PRODUCTS, SUPPLIERS
from anomaly_detection.synthetic.realistic_orders import DAYS, SUPPLIER_CATEGORY, Orders, World, column, derive, tariff

__all__ = ["CHANGED_COLUMNS", "DIFFICULTIES", "KIND_OF_TYPE", "inject"]


class Difficulty(NamedTuple):
    """Effect sizes. `point` multiplies the logarithm of a factor; the other factors are typical ones."""

    point: float
    lead_time: float
    season: float
    price: float
    freight: float
    drift: float
    stuck_days: int
    copy_minutes: int  # at most this long after the original
    copy_noise: float  # of the quantity


DIFFICULTIES: dict[str, Difficulty] = {
    "easy": Difficulty(1.4, 6.0, 2.6, 1.9, 6.0, 2.6, 28, 10, 0.0),
    "medium": Difficulty(1.0, 3.5, 2.1, 1.5, 3.0, 1.9, 14, 1440, 0.0),
    "hard": Difficulty(0.6, 2.2, 1.6, 1.25, 1.8, 1.4, 7, 5760, 0.04),
}

# type -> (attribute of Orders, ranges of the factor at medium difficulty, equally likely)
POINT: dict[str, tuple[str, tuple[tuple[float, float], ...]]] = {
    "quantity_spike": ("quantity", ((4.0, 8.0),)),
    "lead_time_delay": ("lead_time", ((2.5, 4.0),)),
    "cost_anomaly": ("freight_noise", ((3.0, 6.0),)),
    "inventory_shortage": ("inventory", ((0.03, 0.15),)),
    "quality_issue": ("quality", ((0.4, 0.7),)),
    "forecast_error": ("forecast", ((0.1, 0.3), (3.0, 5.0))),
}
CONTEXTUAL = (
    "lead_time_of_another_mode",
    "volume_out_of_season",
    "price_of_another_supplier",
    "freight_of_another_lane",
)
COLLECTIVE = ("supplier_drift", "stuck_reading", "duplicated_order")

KIND_OF_TYPE: dict[str, str] = {
    "normal": "normal",
    **dict.fromkeys(POINT, "point"),
    **dict.fromkeys(CONTEXTUAL, "contextual"),
    **dict.fromkeys(COLLECTIVE, "collective"),
}

# type -> columns of the frame that tell it
CHANGED_COLUMNS: dict[str, tuple[str, ...]] = {
    "quantity_spike": ("order_quantity",),
    "lead_time_delay": ("lead_time",),
    "cost_anomaly": ("transportation_cost",),
    "inventory_shortage": ("inventory_level",),
    "quality_issue": ("quality_rating",),
    "forecast_error": ("demand_forecast",),
    "lead_time_of_another_mode": ("lead_time",),
    "volume_out_of_season": ("order_quantity", "demand_forecast"),
    "price_of_another_supplier": ("unit_price",),
    "freight_of_another_lane": ("transportation_cost", "weight_kg"),
    "supplier_drift": ("lead_time", "quality_rating", "supplier_reliability"),
    "stuck_reading": ("inventory_level", "quality_rating"),
    "duplicated_order": (),
}

SLOW_MODES = ("Sea", "Rail")
DRIFT_DAYS = 42
DRIFT_QUALITY = 0.25  # logarithm of quality's decline for one of lead time's growth
DRIFT_RELIABILITY = 0.2
BULK = (0.002, 0.998)  # quantiles of the normal rows between which a contextual anomaly's values lie
CHOICES = 48  # elsewheres that a contextual anomaly looks at for one that is far enough
WHOLE = ("quantity", "lead_time", "inventory", "forecast")


def inject(orders: Orders, world: World, n_anomalies: int, rng: np.random.Generator, difficulty: str) -> np.ndarray:
    """Turn `n_anomalies` of the orders into anomalies, in place, and return each order's type (str)."""
    injection = _Injection(orders, world, rng, DIFFICULTIES[difficulty])
    injection.collective(n_anomalies // 3)
    injection.contextual(n_anomalies // 3)
    injection.point(n_anomalies - int(np.sum(injection.types != "normal")))
    return injection.types


class _Injection:
    def __init__(self, orders: Orders, world: World, rng: np.random.Generator, difficulty: Difficulty) -> None:
        self.orders, self.world, self.rng, self.difficulty = orders, world, rng, difficulty
        self.types = np.full(len(orders), "normal", dtype=f"<U{max(map(len, KIND_OF_TYPE))}")
        self.free = np.ones(len(orders), dtype=bool)  # neither an anomaly nor the original of one

    def mark(self, rows: np.ndarray, name: str) -> None:
        self.types[rows] = name
        self.free[rows] = False

    def some(self, count: int, among: np.ndarray | None = None) -> np.ndarray:
        """Up to `count` free rows, in random order."""
        rows = np.flatnonzero(self.free if among is None else self.free & among)
        return self.rng.permutation(rows)[:count]

    # Collective: whole episodes, taken until there are enough rows.

    def collective(self, count: int) -> None:
        kinds = self.rng.permutation(len(COLLECTIVE))[: count // 3]  # an episode of one or two rows is none
        for kind, share in zip(kinds, _shares(count, len(kinds)), strict=True):
            (self.supplier_drift, self.stuck_reading, self.duplicated_order)[kind](share)

    def supplier_drift(self, count: int) -> None:
        days = self._window(DRIFT_DAYS, len(SUPPLIERS), 8)
        rows, episode = self._episodes(self.orders.supplier, days)
        rows, episode = rows[:count], episode[:count]
        position = _position(episode)
        progress = position / np.maximum(np.bincount(episode)[episode] - 1, 1) if rows.size else position
        effect = math.log(self.difficulty.drift) * (0.4 + 0.6 * progress)
        self._scale(rows, "lead_time", np.exp(effect))
        self._scale(rows, "handling", np.exp(effect))
        self._scale(rows, "quality", np.exp(-DRIFT_QUALITY * effect))
        self._scale(rows, "reliability", np.exp(-DRIFT_RELIABILITY * effect))
        self.mark(rows, "supplier_drift")

    def stuck_reading(self, count: int) -> None:
        """A warehouse goes on reporting the last figure, of stock or of quality, for all goods of a category."""
        place = self.orders.warehouse * (1 + self.orders.category.max()) + self.orders.category
        days = self._window(self.difficulty.stuck_days, int(place.max()) + 1, 5)
        rows, episode = self._episodes(place, days)
        position = _position(episode)
        first = rows[position == 0]
        rows, episode = rows[position > 0][:count], episode[position > 0][:count]
        first = first[: episode.max() + 1] if rows.size else first[:0]  # the last good reading stays normal
        attribute = np.where(self.rng.random(first.size) < 0.5, "inventory", "quality")[episode]
        for name in ("inventory", "quality"):
            chosen = attribute == name
            getattr(self.orders, name)[rows[chosen]] = getattr(self.orders, name)[first[episode[chosen]]]
        self.free[first] = False
        self.mark(rows, "stuck_reading")

    def duplicated_order(self, count: int) -> None:
        count = min(count, int(self.free.sum()) // 2)
        copies = self.rng.integers(1, 4, count)
        source = np.repeat(np.arange(count), copies)[:count]
        rows = self.some(2 * count)
        original, target = rows[:count][source], rows[count:]
        copy = self.orders.take(original)
        copy.minute += self.rng.integers(1, self.difficulty.copy_minutes + 1, count)
        noise = np.exp(self.rng.uniform(-1, 1, count) * self.difficulty.copy_noise)
        copy.quantity = np.maximum(np.round(copy.quantity * noise), 1)
        self.orders.put(target, copy)
        self.free[original] = False
        self.mark(target, "duplicated_order")

    def _window(self, days: int, places: int, rows: int) -> int:
        """Length of an episode: `days`, or longer where the data are thin, so that it holds some `rows` rows."""
        return min(DAYS, max(days, math.ceil(rows * places * DAYS / len(self.orders))))

    def _episodes(self, place: np.ndarray, days: int) -> tuple[np.ndarray, np.ndarray]:
        """Free rows by episode (a place during some days), in time within it, and each row's episode, counted from 0.

        The episodes come in random order; those of fewer than three rows are left out.
        """
        rows = np.flatnonzero(self.free)
        rows = rows[np.argsort(self.orders.minute[rows], kind="stable")]
        key = place[rows] * (DAYS // days + 1) + self.orders.day[rows] // days
        _, episode, size = np.unique(key, return_inverse=True, return_counts=True)
        rows, episode = rows[size[episode] >= 3], episode[size[episode] >= 3]
        rank = self.rng.permutation(size.size)[episode]
        order = np.argsort(rank, kind="stable")
        return rows[order], np.unique(rank[order], return_inverse=True)[1]

    # Contextual: try many rows, each with the elsewhere that suits best, and keep the best that stay within the bulk.

    def contextual(self, count: int) -> None:
        proposals: tuple[tuple[float, Callable[[np.ndarray, np.ndarray], tuple[Orders, np.ndarray]]], ...] = (
            (self.difficulty.lead_time, self._lead_time_of_another_mode),
            (self.difficulty.season, self._volume_out_of_season),
            (self.difficulty.price, self._price_of_another_supplier),
            (self.difficulty.freight, self._freight_of_another_lane),
        )
        if not count:
            return
        normal = np.flatnonzero(self.types == "normal")
        low, high = np.quantile(self._visible(self.orders.take(normal)), BULK, axis=1)[..., None]
        slow = np.isin(self.orders.mode, [i for i, mode in enumerate(MODES) if mode.name in SLOW_MODES])
        self.slow_rows = np.flatnonzero(slow & (self.types == "normal"))
        for name, share, (factor, propose) in zip(CONTEXTUAL, _shares(count, 4), proposals, strict=True):
            eligible = ~slow if name == CONTEXTUAL[0] else None
            rows = self.some(6 * share + 50, eligible)
            if not share or not rows.size or (name == CONTEXTUAL[0] and not self.slow_rows.size):
                continue
            target = math.log(factor) * self.rng.uniform(0.85, 1.25, rows.size)
            changed, effect = propose(rows, target)
            visible = self._visible(changed)
            usual = ((visible >= low) & (visible <= high)).all(axis=0)
            far = np.abs(effect) > 0.8 * math.log(factor)
            best = np.argsort(np.abs(effect - target), kind="stable")
            best = best[(usual & far)[best]][:share]
            self.orders.put(rows[best], changed.take(best))
            self.mark(rows[best], name)

    def _visible(self, orders: Orders) -> np.ndarray:
        """The numbers that the frame shows and that differ within a lane, one a row."""
        facts = ("quantity", "unit_price", "forecast", "inventory", "capacity", "reliability", "quality", "lead_time")
        derived = derive(orders, self.world)
        return np.stack([*(getattr(orders, fact) for fact in facts), derived.value, derived.weight, derived.freight])

    def _nearest(self, effects: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Per row, the column of `effects` (rows, choices; logarithms) next to the target."""
        nearest: np.ndarray = np.argmin(np.abs(effects - target[:, None]), axis=1)
        return nearest

    def _lead_time_of_another_mode(self, rows: np.ndarray, target: np.ndarray) -> tuple[Orders, np.ndarray]:
        changed = self.orders.take(rows)
        donors = self.orders.lead_time[self.rng.choice(self.slow_rows, (rows.size, CHOICES))]
        effects = np.log(donors / changed.lead_time[:, None])
        which = self._nearest(effects, target)
        changed.lead_time = _at(donors, which)
        return changed, _at(effects, which)

    def _volume_out_of_season(self, rows: np.ndarray, target: np.ndarray) -> tuple[Orders, np.ndarray]:
        changed = self.orders.take(rows)
        demand = self.world.demand[changed.category]
        days = self.rng.integers(DAYS, size=(rows.size, CHOICES))
        effects = np.log(np.take_along_axis(demand, days, axis=1) / _at(demand, changed.day)[:, None])
        effect = _at(effects, self._nearest(effects, target))
        pack = column(PRODUCTS, "pack")[changed.product]
        changed.quantity = np.maximum(np.round(changed.quantity * np.exp(effect) / pack), 1) * pack
        changed.forecast = np.round(changed.forecast * np.exp(effect))
        return changed, effect

    def _price_of_another_supplier(self, rows: np.ndarray, target: np.ndarray) -> tuple[Orders, np.ndarray]:
        changed = self.orders.take(rows)
        level = column(SUPPLIERS, "price")
        effects = np.log(level[None, :] / level[changed.supplier, None])
        same_trade = SUPPLIER_CATEGORY[None, :] == changed.category[:, None]
        size = np.where(same_trade, np.abs(effects), 0.0)  # dearer or cheaper alike
        which = self._nearest(size, target)
        changed.unit_price = np.round(changed.unit_price * np.exp(_at(effects, which)), 2)
        return changed, _at(size, which)

    def _freight_of_another_lane(self, rows: np.ndarray, target: np.ndarray) -> tuple[Orders, np.ndarray]:
        changed = self.orders.take(rows)
        own = derive(changed, self.world)
        donors = self.orders.take(self.rng.integers(len(self.orders), size=rows.size * CHOICES))
        distance = self.world.lanes.distance[donors.supplier, donors.warehouse, donors.mode]
        weight, day = np.repeat(own.weight, CHOICES), np.repeat(changed.day, CHOICES)
        other = tariff(self.world, weight, distance, donors.mode, day).reshape(rows.size, CHOICES)
        effects = np.log(other / tariff(self.world, own.weight, own.distance, changed.mode, changed.day)[:, None])
        which = self._nearest(np.abs(effects), target)
        changed.freight_noise = changed.freight_noise * np.exp(_at(effects, which))
        return changed, np.abs(_at(effects, which))

    # Point: one fact times a factor.

    def point(self, count: int) -> None:
        rows = self.some(count)
        which = self.rng.permutation(np.arange(rows.size) % len(POINT))
        for number, (name, (attribute, ranges)) in enumerate(POINT.items()):
            chosen = rows[which == number]
            variant = self.rng.integers(len(ranges), size=chosen.size)
            low, high = np.array(ranges)[variant].T
            factor = self.rng.uniform(low, high) ** self.difficulty.point
            self._scale(chosen, attribute, factor)
            self.mark(chosen, name)

    def _scale(self, rows: np.ndarray, attribute: str, factor: np.ndarray) -> None:
        values = getattr(self.orders, attribute)
        scaled = values[rows] * factor
        if attribute in WHOLE or attribute == "handling":
            scaled = np.maximum(np.round(scaled), 1)
        elif attribute in ("quality", "reliability"):
            scaled = np.round(scaled, 3)
        values[rows] = scaled


def _at(table: np.ndarray, which: np.ndarray) -> np.ndarray:
    """One element of each row."""
    return np.take_along_axis(table, which[:, None], axis=1)[:, 0]


def _position(episode: np.ndarray) -> np.ndarray:
    """Position of each element in its run; `episode` counts 0, 1, ... in runs."""
    size = np.bincount(episode) if episode.size else np.zeros(0, dtype=np.intp)
    start = np.cumsum(size) - size
    position: np.ndarray = np.arange(episode.size) - start[episode]
    return position


def _shares(count: int, parts: int) -> list[int]:
    """`count` in near-equal parts."""
    return [count // parts + (i < count % parts) for i in range(parts)]
