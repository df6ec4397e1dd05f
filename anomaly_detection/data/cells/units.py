"""Units of mass, length, time, volume, shares and a few more: which can be turned into which, and by what factor."""

from __future__ import annotations

from dataclasses import dataclass

from anomaly_detection.data.cells.clocks import CLOCKS

__all__ = ["FRACTIONS", "PERCENT", "UNITS", "Unit", "factor"]

PERCENT, FRACTIONS = "%", "fractions"


@dataclass(frozen=True)
class Unit:
    """A unit of measurement.

    Attributes
    ----------
    name : str
        How it is usually written.
    dimension : str
        What it measures; degrees, whose zeros differ, are one each.
    size : float
        In kilograms, metres, days, litres, kWh, kW, MB, Hz or bar.
    """

    name: str
    dimension: str
    size: float


_SPELLINGS: dict[Unit, str] = {
    Unit("mg", "mass", 1e-6): "mg mgs milligram milligrams",
    Unit("g", "mass", 1e-3): "g gr gram grams gramm",
    Unit("kg", "mass", 1.0): "kg kgs kilo kilos kilogram kilograms kilogramm",
    Unit("t", "mass", 1000.0): "t to ton tons tonne tonnes mt",
    Unit("lb", "mass", 0.45359237): "lb lbs pound pounds",
    Unit("oz", "mass", 0.028349523125): "oz ounce ounces",
    Unit("mm", "length", 1e-3): "mm millimetre millimetres millimeter millimeters",
    Unit("cm", "length", 1e-2): "cm centimetre centimetres centimeter centimeters",
    Unit("m", "length", 1.0): "m metre metres meter meters",
    Unit("km", "length", 1000.0): "km kms kilometre kilometres kilometer kilometers",
    Unit("in", "length", 0.0254): "in inch inches",
    Unit("ft", "length", 0.3048): "ft foot feet",
    Unit("yd", "length", 0.9144): "yd yard yards",
    Unit("mi", "length", 1609.344): "mi mile miles",
    Unit("ms", "time", 1e-3 / 86400): "ms msec millisecond milliseconds",
    Unit("s", "time", 1 / 86400): "s sec secs second seconds",
    Unit("min", "time", 1 / 1440): "min mins minute minutes",
    Unit("h", "time", 1 / 24): "h hr hrs hour hours",
    Unit("days", "time", 1.0): "d day days tag tage jour jours",
    Unit("weeks", "time", 7.0): "w wk wks week weeks",
    Unit("ml", "volume", 1e-3): "ml millilitre millilitres milliliter milliliters",
    Unit("l", "volume", 1.0): "l ltr litre litres liter liters",
    Unit("m3", "volume", 1000.0): "m3 m³ cbm",
    Unit("°C", "Celsius", 1.0): "°c",
    Unit("°F", "Fahrenheit", 1.0): "°f",
    Unit("Wh", "energy", 1e-3): "wh",
    Unit("kWh", "energy", 1.0): "kwh",
    Unit("MWh", "energy", 1e3): "mwh",
    Unit("GWh", "energy", 1e6): "gwh",
    Unit("kW", "power", 1.0): "kw",
    Unit("MW", "power", 1e3): "mw",
    Unit("kB", "data", 1e-3): "kb",
    Unit("MB", "data", 1.0): "mb",
    Unit("GB", "data", 1e3): "gb",
    Unit("TB", "data", 1e6): "tb",
    Unit("Hz", "frequency", 1.0): "hz",
    Unit("kHz", "frequency", 1e3): "khz",
    Unit("MHz", "frequency", 1e6): "mhz",
    Unit("mbar", "pressure", 1e-3): "mbar hpa",
    Unit("bar", "pressure", 1.0): "bar",
    Unit("kPa", "pressure", 0.01): "kpa",
    Unit("psi", "pressure", 0.0689475729): "psi",
    Unit(PERCENT, "share", 0.01): "% pct",
    Unit(FRACTIONS, "share", 1.0): "fractions",
    **{Unit(clock, "clock", 1.0): clock for clock in CLOCKS},
}

UNITS: dict[str, Unit] = {word: unit for unit, words in _SPELLINGS.items() for word in words.split()}
"""Every spelling in lower case, and its unit."""


def factor(unit: str, into: str) -> float | None:
    """How many of `into` one `unit` is, spelt as in `UNITS`; None where one cannot become the other."""
    ours, theirs = UNITS.get(unit.lower()), UNITS.get(into.lower())
    if ours is None or theirs is None:
        return 1.0 if unit == into else None
    return ours.size / theirs.size if ours.dimension == theirs.dimension else None
