"""The `realistic` synthetic profile: two years of purchase orders of a trading company.

One row is one order, from the supplier's door to the warehouse. What depends on what:

- a product's demand at a warehouse follows the year and promotions; `demand_forecast` (units a week) follows demand;
- `inventory_level` (units) is some weeks of demand, drifting slowly; the order refills it, more for slow modes, up to
  `production_capacity` (units that the supplier can ship in a week), which is short when demand peaks;
- the mode depends on the lane and on the goods' value; freight on distance, mode, weight, fuel and season;
- `lead_time` (days from order to delivery) is the supplier's handling plus transit; unreliable suppliers and orders at
  capacity take longer.

Products and warehouses order independently of how many orders there are: about 6,000 orders meet the stated demand.

Optional fields are missing more often where a supplier reports little or a warehouse counts little. Rows stand in the
order in which they reached the books (`recorded_date`), some suppliers' weeks late. The anomalies are in
`anomaly_detection.synthetic.realistic_anomalies`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from anomaly_detection.synthetic.realistic_anomalies import CHANGED_COLUMNS, DIFFICULTIES, KIND_OF_TYPE, inject
from anomaly_detection.synthetic.realistic_catalogue import CATEGORIES, MODES, PRODUCTS, SUPPLIERS, WAREHOUSES
from anomaly_detection.synthetic.realistic_orders import Orders, World, column, derive, draw_orders

__all__ = ["DIFFICULTIES", "KIND_OF_TYPE", "draw_realistic"]

START = np.datetime64("2023-01-01", "D")


def draw_realistic(
    n_samples: int, n_anomalies: int, rng: np.random.Generator, difficulty: str
) -> tuple[pd.DataFrame, np.ndarray]:
    """Draw the profile's rows.

    Parameters
    ----------
    n_samples : int
        Rows, at least 1.
    n_anomalies : int
        How many of them are anomalies, 0 to half of `n_samples`.
    rng : numpy.random.Generator
        The source of all draws.
    difficulty : {'easy', 'medium', 'hard'}
        How far the anomalies stand out.

    Returns
    -------
    frame : pandas.DataFrame
        `n_samples` rows, in the order of `recorded_date`.
    types : numpy.ndarray of str, shape (n_samples,)
        'normal' or a key of `KIND_OF_TYPE`.
    """
    world = World(rng)
    orders = draw_orders(world, n_samples, rng)
    types = inject(orders, world, n_anomalies, rng, difficulty)
    frame = _frame(orders, world)
    _drop_values(frame, orders, types, rng)
    row = np.argsort(frame["recorded_date"].to_numpy(), kind="stable")
    return frame.iloc[row].reset_index(drop=True), types[row]


def _frame(orders: Orders, world: World) -> pd.DataFrame:
    derived = derive(orders, world)
    ordered = _times(orders.minute)
    order_day = orders.minute // 1440
    delivered = order_day + orders.lead_time.astype(np.int64)
    shipped = order_day + np.minimum(orders.handling, np.maximum(orders.lead_time - 1, 0)).astype(np.int64)
    number = np.empty(len(orders), dtype=np.intp)
    number[np.argsort(orders.minute, kind="stable")] = np.arange(1, len(orders) + 1)
    return pd.DataFrame({
        "order_id": [f"PO-{i:07d}" for i in number.tolist()],
        "order_date": ordered,
        "supplier": _names(SUPPLIERS, "name", orders.supplier),
        "product": _names(PRODUCTS, "name", orders.product),
        "product_category": _names(CATEGORIES, "name", orders.category),
        "origin": _names(SUPPLIERS, "city", orders.supplier),
        "destination": _names(WAREHOUSES, "city", orders.warehouse),
        "shipping_method": _names(MODES, "name", orders.mode),
        "distance_km": derived.distance.astype(np.int64),
        "promotion": world.promotion[orders.category, orders.day].astype(np.int64),
        "order_quantity": orders.quantity.astype(np.int64),
        "unit_price": orders.unit_price,
        "order_value": derived.value,
        "weight_kg": derived.weight,
        "transportation_cost": derived.freight,
        "demand_forecast": orders.forecast,
        "inventory_level": orders.inventory,
        "production_capacity": orders.capacity,
        "supplier_reliability": orders.reliability,
        "quality_rating": orders.quality,
        "ship_date": _times(shipped * 1440),
        "delivery_date": _times(delivered * 1440),
        "lead_time": orders.lead_time.astype(np.int64),
        "recorded_date": _times(delivered * 1440 + orders.booking),
    })  # fmt: skip


def _times(minutes: np.ndarray) -> np.ndarray:
    times: np.ndarray = (START + minutes.astype("timedelta64[m]")).astype("datetime64[ns]")
    return times


def _names(table: tuple[object, ...], attribute: str, which: np.ndarray) -> pd.api.extensions.ExtensionArray:
    return pd.Series([getattr(row, attribute) for row in table]).take(which).array


def _drop_values(frame: pd.DataFrame, orders: Orders, types: np.ndarray, rng: np.random.Generator) -> None:
    """Take values away, in place. A value that makes its row an anomaly stays, or the label would be wrong."""
    silent = 1 - column(SUPPLIERS, "reporting")[orders.supplier]
    uncounted = 1 - column(WAREHOUSES, "counting")[orders.warehouse]
    by_road = orders.mode == [mode.name for mode in MODES].index("Road")
    shares = {
        "production_capacity": 0.01 + silent,
        "quality_rating": 0.01 + 0.8 * silent,
        "supplier_reliability": 0.005 + 0.3 * silent,
        "ship_date": 0.01 + 0.5 * silent,
        "weight_kg": 0.005 + 0.3 * silent,
        "transportation_cost": np.where(by_road, 0.06, 0.02),  # hauliers' invoices come late
        "inventory_level": uncounted,
        "demand_forecast": np.full(len(orders), 0.005),
    }
    for name, share in shares.items():
        kept = np.isin(types, [kind for kind, changed in CHANGED_COLUMNS.items() if name in changed])
        frame.loc[(rng.random(len(orders)) < share) & ~kept, name] = pd.NaT if name == "ship_date" else np.nan
