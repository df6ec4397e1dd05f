"""What the `realistic` profile's company trades with: products, suppliers, warehouses, modes of transport, calendars.

All of it is invented; magnitudes follow the trades they stand for. Money is in US dollars, weight in kilograms,
distance in kilometres.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

__all__ = ["CATEGORIES", "MODES", "PRODUCTS", "SUPPLIERS", "WAREHOUSES", "Lanes", "lanes"]


class Category(NamedTuple):
    """A trade and its calendar: demand peaks around `peak_day` of the year at exp(`amplitude`) times the trough."""

    name: str
    peak_day: int
    amplitude: float
    width: float  # days from the peak to about 60 % of it
    promotions: tuple[int, ...]  # first days of the fortnights on promotion


class Product(NamedTuple):
    name: str
    category: str
    price: float
    weight: float  # of one unit
    weekly: int  # units that an average warehouse sells in an average week
    pack: int  # orders are whole packs


class Supplier(NamedTuple):
    name: str
    city: str
    category: str
    price: float  # relative to the product's price
    handling: float  # days from order to shipment
    reliability: float  # share of orders shipped on time
    quality: float  # mean inspection rating
    reporting: float  # share of optional fields filled in
    late: float  # share of deliveries that reach the books weeks later


class Warehouse(NamedTuple):
    city: str
    size: float  # demand relative to the average warehouse
    counting: float  # share of orders with a stock count


class Mode(NamedTuple):
    name: str
    terminal: float  # days at ports, terminals and customs
    speed: float  # km a day
    spread: float  # of the transit time, as a share
    fixed: float  # dollars a shipment
    per_kg: float
    per_kg_km: float
    cover: float  # further weeks of stock that a slow mode asks for


CATEGORIES = (
    Category("Electronics", 330, 1.1, 35, (85, 215, 312)),
    Category("Clothing", 255, 0.9, 40, (60, 150, 320)),
    Category("Food", 340, 0.8, 30, (75, 170, 345)),
    Category("Furniture", 125, 0.7, 45, (15, 110, 240)),
    Category("Pharmaceuticals", 5, 0.8, 45, (100, 280)),
)

PRODUCTS = (
    Product("Wireless earbuds", "Electronics", 24.0, 0.12, 420, 20),
    Product("Smartphone 128 GB", "Electronics", 210.0, 0.38, 160, 10),
    Product("LED monitor 27 in", "Electronics", 128.0, 6.4, 90, 4),
    Product("Laptop 14 in", "Electronics", 465.0, 2.3, 70, 5),
    Product("Wi-Fi router", "Electronics", 41.0, 0.7, 210, 10),
    Product("USB-C charger 65 W", "Electronics", 11.5, 0.2, 560, 50),
    Product("Smart speaker", "Electronics", 33.0, 1.1, 180, 8),
    Product("Tablet 10 in", "Electronics", 145.0, 0.75, 110, 10),
    Product("Cotton T-shirt", "Clothing", 3.2, 0.18, 1500, 50),
    Product("Denim jeans", "Clothing", 9.8, 0.65, 620, 20),
    Product("Rain jacket", "Clothing", 18.5, 0.7, 240, 10),
    Product("Wool sweater", "Clothing", 16.0, 0.5, 310, 20),
    Product("Running shoes", "Clothing", 22.0, 0.95, 380, 12),
    Product("Sports socks 3-pack", "Clothing", 2.1, 0.15, 1200, 60),
    Product("Winter coat", "Clothing", 34.0, 1.4, 170, 10),
    Product("Linen shirt", "Clothing", 11.0, 0.28, 330, 20),
    Product("Olive oil 1 l", "Food", 5.6, 1.05, 1100, 24),
    Product("Basmati rice 5 kg", "Food", 6.4, 5.1, 760, 20),
    Product("Canned tomatoes 12-pack", "Food", 7.8, 5.6, 540, 10),
    Product("Roasted almonds 1 kg", "Food", 8.9, 1.03, 430, 20),
    Product("Ground coffee 1 kg", "Food", 9.6, 1.02, 690, 20),
    Product("Dried apricots 1 kg", "Food", 7.1, 1.03, 260, 20),
    Product("Honey 500 g", "Food", 4.3, 0.75, 480, 24),
    Product("Black tea 250 g", "Food", 3.4, 0.3, 610, 40),
    Product("Office chair", "Furniture", 74.0, 14.5, 85, 4),
    Product("Standing desk", "Furniture", 185.0, 38.0, 40, 2),
    Product("Bookcase", "Furniture", 62.0, 29.0, 60, 2),
    Product("Dining table", "Furniture", 148.0, 44.0, 32, 1),
    Product("Sofa, three seats", "Furniture", 310.0, 58.0, 24, 1),
    Product("Bed frame", "Furniture", 139.0, 41.0, 38, 1),
    Product("Bedside table", "Furniture", 34.0, 9.5, 95, 4),
    Product("Floor lamp", "Furniture", 27.0, 4.8, 120, 6),
    Product("Ibuprofen 400 mg x 100", "Pharmaceuticals", 3.1, 0.09, 1700, 100),
    Product("Amoxicillin 500 mg x 21", "Pharmaceuticals", 4.4, 0.06, 1250, 100),
    Product("Insulin glargine pens x 5", "Pharmaceuticals", 46.0, 0.16, 340, 20),
    Product("Salbutamol inhaler", "Pharmaceuticals", 5.9, 0.05, 820, 50),
    Product("Metformin 850 mg x 90", "Pharmaceuticals", 3.8, 0.11, 1400, 100),
    Product("Vitamin D3 x 120", "Pharmaceuticals", 4.9, 0.1, 960, 50),
    Product("Antigen test x 25", "Pharmaceuticals", 29.0, 0.55, 280, 10),
    Product("Nitrile gloves x 100", "Pharmaceuticals", 6.2, 0.45, 1050, 40),
)

SUPPLIERS = (
    Supplier("Brightwave Shenzhen", "Shenzhen", "Electronics", 0.82, 9.0, 0.93, 0.93, 0.95, 0.05),
    Supplier("Lotus Devices", "Hanoi", "Electronics", 0.95, 11.0, 0.90, 0.91, 0.86, 0.08),
    Supplier("Circuitos de Jalisco", "Guadalajara", "Electronics", 1.18, 7.0, 0.92, 0.94, 0.90, 0.06),
    Supplier("Lumen Eindhoven", "Eindhoven", "Electronics", 1.50, 4.0, 0.97, 0.97, 0.99, 0.02),
    Supplier("Meghna Garments", "Dhaka", "Clothing", 0.74, 16.0, 0.86, 0.89, 0.74, 0.20),
    Supplier("Anatolia Tekstil", "Istanbul", "Clothing", 1.05, 8.0, 0.92, 0.93, 0.92, 0.06),
    Supplier("Malhas do Norte", "Porto", "Clothing", 1.42, 6.0, 0.95, 0.96, 0.97, 0.03),
    Supplier("Deccan Spice and Grain", "Mumbai", "Food", 0.76, 10.0, 0.88, 0.90, 0.78, 0.16),
    Supplier("Aegean Foods", "Izmir", "Food", 0.94, 6.0, 0.92, 0.93, 0.91, 0.06),
    Supplier("Huerta de Levante", "Valencia", "Food", 1.16, 4.0, 0.95, 0.95, 0.96, 0.03),
    Supplier("San Joaquin Growers", "Fresno", "Food", 1.45, 4.0, 0.96, 0.96, 0.98, 0.02),
    Supplier("Saigon Woodcraft", "Ho Chi Minh City", "Furniture", 0.78, 18.0, 0.88, 0.90, 0.82, 0.12),
    Supplier("Meble Centrum", "Lodz", "Furniture", 1.02, 10.0, 0.93, 0.94, 0.95, 0.04),
    Supplier("Grand Rapids Oak and Steel", "Grand Rapids", "Furniture", 1.48, 8.0, 0.96, 0.96, 0.98, 0.03),
    Supplier("Telangana Generics", "Hyderabad", "Pharmaceuticals", 0.70, 12.0, 0.90, 0.92, 0.84, 0.10),
    Supplier("Leeside Laboratories", "Cork", "Pharmaceuticals", 1.15, 7.0, 0.96, 0.97, 0.98, 0.02),
    Supplier("Rheinknie Pharma", "Basel", "Pharmaceuticals", 1.55, 5.0, 0.98, 0.98, 0.99, 0.01),
)

WAREHOUSES = (
    Warehouse("Rotterdam", 1.5, 0.99),
    Warehouse("Warsaw", 0.8, 0.95),
    Warehouse("Barcelona", 0.7, 0.97),
    Warehouse("Newark", 1.3, 0.98),
    Warehouse("Chicago", 1.0, 0.97),
    Warehouse("Los Angeles", 1.2, 0.99),
)

MODES = (
    Mode("Air", 3.0, 9000.0, 0.15, 90.0, 0.90, 2.6e-4, 0.0),
    Mode("Sea", 9.0, 680.0, 0.09, 180.0, 0.06, 7.0e-6, 3.0),
    Mode("Road", 1.0, 600.0, 0.15, 70.0, 0.04, 1.1e-4, 0.5),
    Mode("Rail", 4.0, 750.0, 0.12, 130.0, 0.05, 4.5e-5, 1.5),
)

# city -> (latitude, longitude, part of the world)
CITIES: dict[str, tuple[float, float, str]] = {
    "Shenzhen": (22.5, 114.1, "China"),
    "Hanoi": (21.0, 105.8, "Asia"),
    "Ho Chi Minh City": (10.8, 106.7, "Asia"),
    "Dhaka": (23.8, 90.4, "Asia"),
    "Mumbai": (19.1, 72.9, "Asia"),
    "Hyderabad": (17.4, 78.5, "Asia"),
    "Istanbul": (41.0, 29.0, "Europe"),
    "Izmir": (38.4, 27.1, "Europe"),
    "Eindhoven": (51.4, 5.5, "Europe"),
    "Porto": (41.2, -8.6, "Europe"),
    "Valencia": (39.5, -0.4, "Europe"),
    "Lodz": (51.8, 19.5, "Europe"),
    "Cork": (51.9, -8.5, "Europe"),
    "Basel": (47.6, 7.6, "Europe"),
    "Guadalajara": (20.7, -103.3, "America"),
    "Fresno": (36.7, -119.8, "America"),
    "Grand Rapids": (43.0, -85.7, "America"),
    "Rotterdam": (51.9, 4.5, "Europe"),
    "Warsaw": (52.2, 21.0, "Europe"),
    "Barcelona": (41.4, 2.2, "Europe"),
    "Newark": (40.7, -74.2, "America"),
    "Chicago": (41.9, -87.6, "America"),
    "Los Angeles": (33.9, -118.2, "America"),
}

# (from, to) -> shares of Air, Sea, Road, Rail for goods of 20 dollars a kilogram; absent: by air or sea
MODE_SHARES: dict[tuple[str, str], tuple[float, float, float, float]] = {
    ("Europe", "Europe"): (0.12, 0.0, 0.68, 0.20),
    ("America", "America"): (0.12, 0.0, 0.68, 0.20),
    ("China", "Europe"): (0.25, 0.60, 0.0, 0.15),
}
OVERSEAS_SHARES = (0.28, 0.72, 0.0, 0.0)
SHORTEST = {"Air": 700, "Rail": 300}  # km; below it trucks have no rival
DETOURS = {"Air": 1.05, "Road": 1.25, "Rail": 1.3}  # distance travelled to the great circle's


@dataclass(frozen=True)
class Lanes:
    """What lies between a supplier and a warehouse; the axes are supplier, warehouse, mode."""

    distance: np.ndarray  # km
    shares: np.ndarray  # of the modes; 0 where a mode cannot go


def lanes() -> Lanes:
    """Work out every lane's distance and possible modes."""
    shape = (len(SUPPLIERS), len(WAREHOUSES), len(MODES))
    distance, shares = np.zeros(shape), np.zeros(shape)
    for s, supplier in enumerate(SUPPLIERS):
        for w, warehouse in enumerate(WAREHOUSES):
            start, end = CITIES[supplier.city], CITIES[warehouse.city]
            direct = _great_circle(start, end)
            detours = {**DETOURS, "Sea": _sea_detour(start[2], end[2], warehouse.city)}
            distance[s, w] = [round(direct * detours[mode.name]) for mode in MODES]
            possible = [direct >= SHORTEST.get(mode.name, 0) for mode in MODES]
            shares[s, w] = np.multiply(MODE_SHARES.get((start[2], end[2]), OVERSEAS_SHARES), possible)
    return Lanes(distance, shares)


def _great_circle(start: tuple[float, float, str], end: tuple[float, float, str]) -> float:
    (lat1, lon1), (lat2, lon2) = np.radians(start[:2]), np.radians(end[:2])
    haversine = np.sin((lat2 - lat1) / 2) ** 2 + np.cos(lat1) * np.cos(lat2) * np.sin((lon2 - lon1) / 2) ** 2
    return float(2 * 6371 * np.arcsin(np.sqrt(haversine)))


def _sea_detour(start: str, end: str, port: str) -> float:
    """Ships go round continents: through Suez from Asia to Europe, through Panama to the far coast of America."""
    if end == "Europe":
        return 1.2 if start == "America" else 1.85
    near_coast = (port == "Los Angeles") == (start in ("China", "Asia"))
    return 1.12 if near_coast else 1.5
