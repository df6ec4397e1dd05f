"""The plan of branches: which transformer makes the features of each group, and of which columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anomaly_detection.data.columns.schema import Role, Schema
from anomaly_detection.features.categories.constants import Constants
from anomaly_detection.features.categories.level_rarity import LevelRarity, MissingLevels, ValueRarity
from anomaly_detection.features.categories.name_forms import NameForms
from anomaly_detection.features.categories.owners import Owners
from anomaly_detection.features.categories.pair_rarity import PairRarity
from anomaly_detection.features.categories.rarity import CalendarRarity, CategoryRarity, MissingRarity
from anomaly_detection.features.categories.relations import Relations
from anomaly_detection.features.categories.spelling import Spelling
from anomaly_detection.features.dates.derived import (
    CalendarPart,
    Derived,
    Duration,
    MissingPattern,
    MissingState,
    NumberLevel,
    Product,
    Ratio,
)
from anomaly_detection.features.dates.restated import Restated
from anomaly_detection.features.dates.spans import Dates
from anomaly_detection.features.forms import Decimals, Forms, Gaps, Signs, Zeros
from anomaly_detection.features.kinds import known_groups
from anomaly_detection.features.numbers.contexts import Contexts
from anomaly_detection.features.numbers.expectation import Expectation
from anomaly_detection.features.numbers.group_deviation import GroupDeviation
from anomaly_detection.features.numbers.numeric_values import Durations, NumericValues, Ratios
from anomaly_detection.features.numbers.rules import Rules
from anomaly_detection.features.numbers.ties import Ties
from anomaly_detection.features.repeats.amended import Amended
from anomaly_detection.features.repeats.copies import Copies
from anomaly_detection.features.repeats.duplicates import Repeats
from anomaly_detection.features.series.courses import Courses
from anomaly_detection.features.series.readings import Readings
from anomaly_detection.features.series.sequence import Neighbours, Runs

__all__ = ["Branch", "plan_branches"]

Branch = tuple[str, Any, list[str]]
"""The name of a group, its transformer or "drop", and the columns that this is given."""


def plan_branches(
    schema: Schema,
    restated: Mapping[str, tuple[str, str]],
    derived: Mapping[str, Derived],
    groups: Sequence[str],
    n_jobs: int | None,
) -> list[Branch]:
    """Plan a branch for each group, "drop" where the group is not wanted or has no columns.

    Parameters
    ----------
    schema : Schema
    restated : mapping of column to (part, date)
        Columns that are not judged, because they only restate a part of a date.
    derived : mapping of str to Derived
        The derived columns by name.
    groups : sequence of str
        Those that are wanted.
    n_jobs : int, optional
        Threads over columns.
    """
    numbers = [name for name in schema.names(Role.NUMERIC) if name not in restated]
    categories = [name for name in schema.names(Role.CATEGORICAL) if name not in restated]
    dates = schema.names(Role.TIMESTAMP)
    names: dict[type, list[str]] = {
        kind: [name for name, part in derived.items() if isinstance(part, kind)]
        for kind in (Duration, Ratio, Product, MissingState, MissingPattern, NumberLevel)
    }
    calendar = {
        kind: [name for name, part in derived.items() if isinstance(part, CalendarPart) and part.part in kind]
        for kind in (("weekday", "hour"), ("hour",), ("month",), ("period",))
    }
    weekday_and_hour, hours, months, periods = calendar.values()
    judged = [*numbers, *names[Duration], *names[Ratio]]
    groupers = [*categories, *months]
    levels = names[NumberLevel]
    every = schema.names(Role.CATEGORICAL)
    foretold = [*every, *months, *weekday_and_hour, *levels]
    names_only = schema.names(Role.IDENTIFIER)
    kin = {name: part.columns for name, part in derived.items()}
    states = names[MissingState]
    products = [part for part in derived.values() if isinstance(part, Product)]
    restating_dates = dict.fromkeys(date for _, date in restated.values())
    plan: list[Branch] = [
        ("num", NumericValues(), numbers),
        ("cat", CategoryRarity(), categories),
        (
            "pairs",
            PairRarity(keys=names_only, dates=dates),
            [*categories, *states, *names_only, *dates] if categories or states else [],
        ),
        ("calendar", CalendarRarity(), weekday_and_hour),
        ("durations", Durations(), names[Duration]),
        ("ratios", Ratios(), names[Ratio]),
        ("deviations", GroupDeviation(judged, groupers, n_jobs=n_jobs), [*judged, *groupers]),
        (
            "expectations",
            Expectation([*numbers, *names[Duration]], groupers, [product.columns for product in products]),
            [*numbers, *names[Duration], *groupers],
        ),
        ("rules", Rules(products, dates), [*names[Product], *dates]),
        ("missing", MissingRarity(keep_all=True), names[MissingPattern]),
        ("repeats", Repeats(numbers, periods, dates), [*numbers, *categories, *periods, *dates]),
        ("levels", LevelRarity(unclosed=hours), [*every, *weekday_and_hour]),
        ("patterns", MissingLevels(keep_all=True), names[MissingPattern]),
        ("copies", Copies(names_only), [*numbers, *dates, *categories, *names_only]),
        ("readings", Readings(numbers, periods), [*numbers, *periods, *dates, *categories]),
        (
            "contexts",
            Contexts(judged, [*groupers, *weekday_and_hour, *levels], numbers, kin),
            [*judged, *groupers, *weekday_and_hour, *levels],
        ),
        (
            "relations",
            Relations(kin, keys=names_only, dates=dates),
            [*foretold, *names_only, *dates] if foretold else [],
        ),
        ("dates", Dates(), dates),
        ("signs", Signs(), schema.names(Role.NUMERIC)),
        ("decimals", Decimals(), schema.names(Role.NUMERIC)),
        ("given", Gaps(), [*schema.names(Role.NUMERIC), *dates, *every]),
        ("forms", Forms(), every),
        ("spelling", Spelling(), every),
        ("zeros", Zeros(), schema.names(Role.NUMERIC)),
        ("values", ValueRarity(), levels),
        ("restated", Restated(restated), [*restated, *restating_dates]),
        ("neighbours", Neighbours([*numbers, *dates], every), [*numbers, *dates, *every]),
        ("runs", Runs(numbers, every), [*numbers, *every]),
        ("names", NameForms(), names_only),
        ("courses", Courses(numbers, dates, every), [*numbers, *dates, *every]),
        (
            "amended",
            Amended(numbers, names_only),
            [*numbers, *dates, *categories, *names_only] if len(numbers) > 1 else [],
        ),
        ("ties", Ties(numbers, dates), [*numbers, *dates]),
        (
            "owners",
            Owners(names_only, categories, dates),
            [*numbers, *dates, *categories, *names_only] if names_only or categories else [],
        ),
        ("constants", Constants(), schema.names(Role.CONSTANT)),
    ]
    wanted = {name for name, _, columns in plan if name in groups and columns}
    known = known_groups(groups)
    return [(name, branch if name in wanted else "drop", columns) for name, branch, columns in plan if name in known]
