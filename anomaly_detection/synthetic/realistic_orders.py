"""Normal orders of the `realistic` profile: what is drawn, and what follows from it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from anomaly_detection.synthetic.realistic_catalogue import CATEGORIES, MODES, PRODUCTS, SUPPLIERS, WAREHOUSES, lanes

__all__ = ["DAYS", "Derived", "Orders", "World", "column", "derive", "draw_orders", "tariff"]

DAYS = 731  # 2023 and 2024
PROMOTION_DAYS = 14
PROMOTION_LIFT = 1.45
WEEKDAY_ORDERS = np.array([0.12, 1.25, 1.15, 1.05, 1.0, 0.95, 0.25])  # from Sunday: day 0 is Sunday 2023-01-01
MONDAY_LIFT = 1.12  # Monday's orders make up for the weekend

_CATEGORY_NAMES = [category.name for category in CATEGORIES]
PRODUCT_CATEGORY = np.array([_CATEGORY_NAMES.index(product.category) for product in PRODUCTS])
SUPPLIER_CATEGORY = np.array([_CATEGORY_NAMES.index(supplier.category) for supplier in SUPPLIERS])


def column(table: tuple[object, ...], name: str) -> np.ndarray:
    """One attribute of a catalogue table's rows, as an array."""
    values: np.ndarray = np.array([getattr(row, name) for row in table])
    return values


class World:
    """The company's surroundings: fixed tables, and levels drawn once per data set.

    Attributes
    ----------
    lanes : Lanes
    demand : numpy.ndarray, shape (categories, DAYS)
        Demand of a day relative to the trough of the year, promotions included.
    promotion : numpy.ndarray of bool, shape (categories, DAYS)
    weekly : numpy.ndarray, shape (products, warehouses)
        Units sold in a week at the trough.
    capacity : numpy.ndarray, shape (suppliers, products)
        Units a supplier can ship in a week when idle.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.lanes = lanes()
        day = np.arange(DAYS)
        self.promotion = np.stack([
            np.isin(day % 365, [first + d for first in category.promotions for d in range(PROMOTION_DAYS)])
            for category in CATEGORIES
        ])  # fmt: skip
        self.season = np.stack([np.exp(c.amplitude * _bump(day, c.peak_day, c.width)) for c in CATEGORIES])
        self.demand = self.season * np.where(self.promotion, PROMOTION_LIFT, 1.0)
        shape = (len(PRODUCTS), len(WAREHOUSES))
        self.weekly = np.outer(column(PRODUCTS, "weekly"), column(WAREHOUSES, "size")) * rng.lognormal(0, 0.3, shape)
        self.stock_phase = rng.uniform(0, 2 * np.pi, shape)
        self.stock_period = rng.uniform(60, 200, shape)
        mean_weekly = self.weekly.mean(axis=1)
        self.capacity = 13 * mean_weekly * rng.lognormal(0, 0.25, (len(SUPPLIERS), len(PRODUCTS)))
        self.fuel = 1 + 0.08 * np.sin(2 * np.pi * (day - 120) / 500) + 0.00008 * day
        self.prices = 1 + 0.00009 * day + 0.015 * np.sin(2 * np.pi * day / 300)


@dataclass
class Orders:
    """The independent facts of each order, arrays of one length; anomalies change these, `derive` does the rest."""

    minute: np.ndarray  # of the order, since the start
    supplier: np.ndarray
    product: np.ndarray
    warehouse: np.ndarray
    mode: np.ndarray
    quantity: np.ndarray  # units
    unit_price: np.ndarray
    unit_weight: np.ndarray  # packed
    freight_noise: np.ndarray  # freight relative to the tariff
    forecast: np.ndarray
    inventory: np.ndarray
    capacity: np.ndarray
    reliability: np.ndarray
    quality: np.ndarray
    handling: np.ndarray  # days
    lead_time: np.ndarray  # days
    booking: np.ndarray  # minutes from delivery to the books

    def __len__(self) -> int:
        return len(self.minute)

    @property
    def day(self) -> np.ndarray:
        """Day of the order, 0 to DAYS - 1."""
        return np.clip(self.minute // 1440, 0, DAYS - 1)

    @property
    def category(self) -> np.ndarray:
        """Category of the product."""
        return PRODUCT_CATEGORY[self.product]

    def take(self, rows: np.ndarray) -> Orders:
        """Copy these rows."""
        return Orders(**{f.name: getattr(self, f.name)[rows] for f in dataclasses.fields(self)})

    def put(self, rows: np.ndarray, other: Orders) -> None:
        """Overwrite these rows."""
        for field in dataclasses.fields(self):
            getattr(self, field.name)[rows] = getattr(other, field.name)


@dataclass(frozen=True)
class Derived:
    """What follows from an order's facts, arrays of one length."""

    distance: np.ndarray
    value: np.ndarray
    weight: np.ndarray
    freight: np.ndarray


def derive(orders: Orders, world: World) -> Derived:
    """Work out distance (km), value and freight (dollars) and weight (kg) of each order."""
    weight = np.maximum(np.round(orders.quantity * orders.unit_weight, 1), 0.1)
    distance = world.lanes.distance[orders.supplier, orders.warehouse, orders.mode]
    freight = np.round(tariff(world, weight, distance, orders.mode, orders.day) * orders.freight_noise, 2)
    return Derived(distance, np.round(orders.quantity * orders.unit_price, 2), weight, freight)


def tariff(world: World, weight: np.ndarray, distance: np.ndarray, mode: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Freight of a shipment in dollars: a fixed part and one by weight and distance, with fuel and peak surcharges."""
    by_weight = weight * (column(MODES, "per_kg")[mode] + column(MODES, "per_kg_km")[mode] * distance)
    sea_peak = 1 + 0.25 * _bump(day, 270, 35) * (mode == _mode("Sea"))
    base: np.ndarray = (column(MODES, "fixed")[mode] + by_weight) * world.fuel[day] * sea_peak
    return base


def draw_orders(world: World, n: int, rng: np.random.Generator) -> Orders:
    """Draw n normal orders, in the order of their times."""
    day = np.sort(_draw_days(n, rng))
    minute = day * 1440 + np.clip(rng.normal(11.5, 2.6, n), 0, 23.9) * 60 // 1
    product, supplier, warehouse = _draw_partners(n, rng)
    category = PRODUCT_CATEGORY[product]
    price_level = column(SUPPLIERS, "price")[supplier] * column(PRODUCTS, "price")[product]
    mode = _draw_modes(world, supplier, warehouse, price_level / column(PRODUCTS, "weight")[product], rng)

    demand = world.weekly[product, warehouse] * world.demand[category, day]
    forecast = np.maximum(np.round(demand * rng.lognormal(0, 0.09, n)), 1)
    wave = np.sin(2 * np.pi * day / world.stock_period[product, warehouse] + world.stock_phase[product, warehouse])
    cover = 3.0 * world.demand[category, day] ** -0.3 * np.exp(0.2 * wave) * rng.lognormal(0, 0.15, n)
    inventory = np.round(demand * cover)

    target = 6.0 + column(MODES, "cover")[mode]
    wanted = forecast * np.maximum(target - inventory / forecast, 0.8) * rng.lognormal(0, 0.1, n)
    wanted *= np.where(day % 7 == 1, MONDAY_LIFT, 1.0)
    busy = 1 - 0.35 * np.log(world.season[category, day]) / column(CATEGORIES, "amplitude")[category]
    capacity = np.round(world.capacity[supplier, product] * busy * rng.lognormal(0, 0.05, n))
    pack = column(PRODUCTS, "pack")[product]
    quantity = np.maximum(np.minimum(wanted, capacity) // pack, 1) * pack

    discount = 1 - 0.03 * np.clip(np.log(quantity / (4 * world.weekly[product, warehouse])), -1, 1)
    unit_price = np.round(price_level * world.prices[day] * discount * rng.lognormal(0, 0.012, n), 2)
    unit_weight = column(PRODUCTS, "weight")[product] * 1.06 * rng.lognormal(0, 0.015, n)
    handling, transit = _draw_times(world, supplier, warehouse, mode, day, wanted >= capacity, rng)
    reliability = column(SUPPLIERS, "reliability")[supplier] + 0.012 * np.sin(2 * np.pi * (day + 40 * supplier) / 365)
    reliability = np.clip(np.round(reliability + rng.normal(0, 0.008, n), 3), 0, 1)
    quality = np.clip(np.round(rng.normal(column(SUPPLIERS, "quality")[supplier], 0.018), 3), 0, 1)
    late = rng.random(n) < column(SUPPLIERS, "late")[supplier]
    booking = rng.uniform(8, 34, n) * 60 + np.where(late, 3 + rng.exponential(12, n), 0) * 1440
    return Orders(
        minute=minute.astype(np.int64), supplier=supplier, product=product, warehouse=warehouse, mode=mode,
        quantity=quantity, unit_price=unit_price, unit_weight=unit_weight, freight_noise=rng.lognormal(0, 0.06, n),
        forecast=forecast, inventory=inventory, capacity=capacity, reliability=reliability, quality=quality,
        handling=handling, lead_time=handling + transit, booking=booking.astype(np.int64),
    )  # fmt: skip


def _draw_days(n: int, rng: np.random.Generator) -> np.ndarray:
    day = np.arange(DAYS)
    weight = WEEKDAY_ORDERS[day % 7] * (1 + 0.3 * _bump(day, 315, 35))
    return rng.choice(DAYS, n, p=weight / weight.sum())


def _draw_partners(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    product = rng.integers(len(PRODUCTS), size=n)
    of_category = [np.flatnonzero(np.equal(SUPPLIER_CATEGORY, c)) for c in range(len(CATEGORIES))]
    supplier = np.empty(n, dtype=np.intp)
    for category, choices in enumerate(of_category):
        rows = np.flatnonzero(PRODUCT_CATEGORY[product] == category)
        share = 1 / np.arange(2, len(choices) + 2)  # the first of a category is its largest
        supplier[rows] = rng.choice(choices, rows.size, p=share / share.sum())
    size = column(WAREHOUSES, "size")
    return product, supplier, rng.choice(len(WAREHOUSES), n, p=size / size.sum())


def _draw_modes(
    world: World, supplier: np.ndarray, warehouse: np.ndarray, dollars_per_kg: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Dear goods fly: air's share grows with the value of a kilogram, and what is worth little never flies."""
    shares = world.lanes.shares[supplier, warehouse]
    shares[:, _mode("Air")] *= np.where(dollars_per_kg < 5, 0, np.minimum(dollars_per_kg / 20, 6) ** 1.2)
    cumulative = np.cumsum(shares, axis=1)
    drawn = rng.random(len(supplier)) * cumulative[:, -1]
    mode: np.ndarray = (drawn[:, None] >= cumulative).sum(axis=1)
    return mode


def _draw_times(
    world: World,
    supplier: np.ndarray,
    warehouse: np.ndarray,
    mode: np.ndarray,
    day: np.ndarray,
    at_capacity: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    n = len(supplier)
    handling = column(SUPPLIERS, "handling")[supplier] * rng.lognormal(0, 0.15, n) * np.where(at_capacity, 1.3, 1.0)
    tardy = rng.random(n) > column(SUPPLIERS, "reliability")[supplier]
    handling += np.where(tardy, rng.exponential(0.5, n) * handling, 0)
    distance = world.lanes.distance[supplier, warehouse, mode]
    transit = column(MODES, "terminal")[mode] + distance / column(MODES, "speed")[mode]
    transit *= rng.lognormal(0, column(MODES, "spread")[mode]) * (1 + 0.12 * _bump(day, 320, 35))
    return np.maximum(np.round(handling), 1), np.maximum(np.round(transit), 1)


def _bump(day: np.ndarray, peak: float, width: float) -> np.ndarray:
    """1 on the peak's day of the year, about 0.6 `width` days off it, near 0 far away; smooth round the year."""
    sharpness = (365 / (2 * np.pi * width)) ** 2
    bump: np.ndarray = np.exp(sharpness * (np.cos(2 * np.pi * (day - peak) / 365) - 1))
    return bump


def _mode(name: str) -> int:
    return [mode.name for mode in MODES].index(name)
