"""Are reasons true? Every number that a reason states, recomputed with plain pandas from the training records.

`--all` asks every alert of a table, and not the most abnormal ones only. Nothing of the system is used for it but what
names a feature's columns: a person with a spreadsheet must get the same.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly_detection.alerts.batch import Batch
from anomaly_detection.alerts.scoring import score_table
from anomaly_detection.data.columns.levels import MISSING_LEVEL
from anomaly_detection.explain.explanations import Contribution
from anomaly_detection.explain.wording import number
from anomaly_detection.features.group import FEW, FeatureSource
from anomaly_detection.settings import RECIPE, make_detector, make_forest
from benchmarks.real_tables import DATA, ROWS, tables

__all__ = ["Pivots", "judged", "refuted"]

_CLOSE = 1e-6
_OF_QUOTIENTS = 5e-3  # the middle of two is taken on their scale, which may be a logarithm
_NUMBER = re.compile(r"(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?")
_RANKED = re.compile(r"\b(above|below) (\d+) % of ([\d,]+|all) values")
_ROUNDED = 0.06  # two figures of a range's width, or of how many times


def judged(frame: pd.DataFrame) -> Batch:
    """The records of a table under a model that learned from them."""
    detector = make_detector(RECIPE, None, make_forest(RECIPE, seed=0, backend="numba")).fit(frame)
    return score_table(detector, frame)


def refuted(batch: Batch, top: int | None = None) -> tuple[list[str], Counter[str]]:
    """What plain pandas says is wrong with the reasons of the alerts, and how many reasons of each kind were asked."""
    pivots = Pivots(batch)
    wrong: list[str] = []
    asked: Counter[str] = Counter()
    for alert in batch.alerts(top=top):
        for reason in alert.reasons:
            source = pivots.sources[reason.feature]
            found = pivots.check(alert.row - 1, source, reason)
            if found is not None:
                asked[source.kind] += 1
                wrong += [f"row {alert.row}: {reason.text}: {one}" for one in found]
    return wrong, asked


class Pivots:
    """Looks facts up in judged records, which are those that their model learned from."""

    def __init__(self, batch: Batch) -> None:
        self.frame = batch.extended.reset_index(drop=True)
        self.sources: dict[str, FeatureSource] = {one.name: one for one in batch.detector.preprocessor.feature_sources_}
        self.checks: dict[str, Callable[[int, FeatureSource, Contribution], list[str]]] = {
            **dict.fromkeys(("contexts", "deviations", "num", "ratios", "durations", "rules"), self._of_numbers),
            **dict.fromkeys(("levels", "values", "patterns"), self._of_level),
            **dict.fromkeys(("relations", "pairs"), self._of_pair),
            "signs": self._of_sign,
            "zeros": self._of_zero,
            "given": self._of_gap,
            "decimals": self._of_decimals,
            "forms": self._of_form,
            "names": self._of_form,
            "spelling": self._of_spelling,
            "dates": self._of_dates,
            "neighbours": self._of_neighbours,
            "runs": self._of_run,
            "readings": self._of_reading,
            "copies": self._of_copy,
            "amended": self._of_amended,
            "expectations": self._of_estimate,
            "ties": self._of_tie,
            "owners": self._of_owner,
        }

    def check(self, row: int, source: FeatureSource, reason: Contribution) -> list[str] | None:
        """What is wrong with a reason; None where nothing here can tell."""
        check = self.checks.get(source.kind)
        return None if check is None else check(row, source, reason)

    def like(self, row: int, columns: Sequence[str]) -> pd.DataFrame:
        """The records with a row's levels in some columns."""
        same = np.ones(len(self.frame), dtype=bool)
        for name in columns:
            level = self.frame[name].iloc[row]
            column = self.frame[name]
            same &= column.isna().to_numpy() if pd.isna(level) else (column == level).to_numpy()
        return self.frame[same]

    def _of_numbers(self, row: int, source: FeatureSource, reason: Contribution) -> list[str]:
        """A median and the middle 90 % of a number, a quotient or days, over the records of the group."""
        known = [name for name in source.columns if name in self.frame]
        if len(known) != len(source.columns) or len(known) > 2:
            return self._of_product(row, source, reason) if len(known) == 3 else ["its columns are not there"]
        own = self._quantity(self.frame, known).iloc[row]
        group = self.like(row, [name for name in source.group_by if name in self.frame])
        values = self._quantity(group, known).replace([np.inf, -np.inf], np.nan).dropna()
        few = FEW if source.kind == "contexts" else 2
        if len(values) < few and row in values.index:
            # Alone in its group, or with few, it is told of beside all records.
            values = self._quantity(self.frame, known).replace([np.inf, -np.inf], np.nan).dropna()
        facts = [own, values.median(), *values.quantile([0.05, 0.95])]
        told = [reason.value, reason.expected]
        close = _CLOSE if len(known) == 1 else _OF_QUOTIENTS
        wrong = [
            f"{one} is not {fact}" for one, fact in zip(told, facts[:2], strict=True) if not _same(one, fact, close)
        ]
        if reason.expected_range is not None and source.kind != "rules":
            ends = zip(reason.expected_range, facts[2:], strict=True)
            wrong += [f"{one} is not {fact}" for one, fact in ends if not _same(one, fact, close)]
        if len(known) == 1:
            plain = reason.text.replace(",", "")
            wrong += [f"{one} is not said" for one in told if number(one).replace(",", "") not in plain]
        if rank := _RANKED.search(reason.text):
            side, share, count = rank.group(1), float(rank.group(2)) / 100.0, rank.group(3)
            beyond = float((values < own if side == "above" else values > own).sum())
            # A quantile lies between two values.
            wrong += [] if beyond >= share * (len(values) - 1) else [f"{beyond} of {len(values)} are {side} it"]
            wrong += [] if count in ("all", f"{len(values):,}") else [f"there are {len(values)} values"]
            return wrong or self._numbers_of(_RANKED.sub("", reason.text), [own, facts[1], *self._cells(row, source)])
        return wrong or self._numbers_of(reason.text, [*facts, *self._cells(row, source)], own, facts[1])

    def _of_product(self, row: int, source: FeatureSource, reason: Contribution) -> list[str]:
        total, first, second = (float(self.frame[name].iloc[row]) for name in source.columns)
        return self._numbers_of(reason.text, [total, first, second, first * second], total, first * second)

    @staticmethod
    def _quantity(frame: pd.DataFrame, columns: Sequence[str]) -> pd.Series[Any]:
        if len(columns) == 1:
            return frame[columns[0]].astype(float)
        first, second = (frame[name] for name in columns)
        if first.dtype.kind == "M":
            return pd.Series((first - second).to_numpy() / np.timedelta64(1, "D"), index=frame.index)
        return first.astype(float) / second.astype(float).where(second > 0)

    def _of_tie(self, row: int, source: FeatureSource, reason: Contribution) -> list[str]:
        """What is told as broken is, and it is a rule that nearly all records keep."""
        factor, breaches, _ = reason.expected
        own, *parts = (self.frame[name] for name in source.columns)
        if own.dtype.kind == "M":
            broken = (own != parts[0]) & own.notna() & parts[0].notna()
        else:
            broken = (own - factor * sum(parts)).abs() > 1e-6 * own.abs()
        return ([] if broken.iloc[row] else ["it is kept"]) + ([] if breaches < 0.01 * len(own) else ["it is no rule"])

    def _of_owner(self, row: int, source: FeatureSource, reason: Contribution) -> list[str]:
        """Some record of the document has another value there."""
        others = self.like(row, source.columns[:1])[reason.value].dropna()
        return [] if (others != self.frame[reason.value].iloc[row]).any() else ["its document has no other"]

    def _of_estimate(self, row: int, source: FeatureSource, reason: Contribution) -> list[str]:
        """The record's own numbers; an estimate is called one."""
        known = [name for name in source.columns if name in self.frame]
        own = self._quantity(self.frame, known).iloc[row]
        wrong = [] if _same(reason.value, own) else [f"{reason.value} is not {own}"]
        named = "expected" in reason.text or "does not go with" in reason.text
        return wrong + ([] if named else ["an estimate is told as history"])

    def _of_level(self, row: int, source: FeatureSource, reason: Contribution) -> list[str]:
        # Which values are missing together is a column that follows from others, by a name of its own.
        column = reason.feature.removesuffix(" rarity")
        if column not in self.frame:
            return [f"{column} is not there"]
        count = len(self.like(row, [column]))
        return self._counted(reason, count)

    def _of_pair(self, row: int, source: FeatureSource, reason: Contribution) -> list[str]:
        of, given = source.columns
        of, given = (next(name for name in (*_derived(source, one), one) if name in self.frame) for one in (of, given))
        beside = self.like(row, [given])
        both = len(self.like(row, [given, of]))
        told, (level, count) = reason.expected[:2], reason.expected[2:] or ("", 0)
        wrong = [] if list(told) == [both, len(beside)] else [f"{told} are {both} of {len(beside)}"]
        names = beside[of].astype(object).map(str).where(beside[of].notna(), MISSING_LEVEL)
        wrong += [] if count == 0 or count == (names == level).sum() else [f"{count} are {(names == level).sum()}"]
        if " is rare with " in reason.text and both > 0.1 * len(beside):
            wrong.append("a tenth is not rare")
        return wrong

    def _of_sign(self, row: int, source: FeatureSource, reason: Contribution) -> list[str]:
        return self._counted(reason, int((self.frame[source.columns[0]] < 0).sum()))

    def _of_zero(self, row: int, source: FeatureSource, reason: Contribution) -> list[str]:
        return self._counted(reason, int((self.frame[source.columns[0]] == 0).sum()))

    def _of_gap(self, row: int, source: FeatureSource, reason: Contribution) -> list[str]:
        return self._counted(reason, int(self.frame[source.columns[0]].isna().sum()))

    def _of_decimals(self, row: int, source: FeatureSource, reason: Contribution) -> list[str]:
        column = self.frame[source.columns[0]]
        places = column.map(lambda value: len(f"{value:.9g}".partition(".")[2]) if "e" not in f"{value:.9g}" else 12)
        own = places.iloc[row]
        wrong = [] if f"has {own} decimal" in reason.text else [f"it has {own}"]
        return wrong + self._counted(reason, int((places.where(column.notna(), -1) >= own).sum()))

    def _of_form(self, row: int, source: FeatureSource, reason: Contribution) -> list[str]:
        forms = self.frame[source.columns[0]].astype(object).map(_form, na_action="ignore")
        return self._counted(reason, int((forms == forms.iloc[row]).sum()))

    def _of_spelling(self, row: int, source: FeatureSource, reason: Contribution) -> list[str]:
        column = self.frame[source.columns[0]].astype(object)
        own, near = str(column.iloc[row]), str(reason.expected)
        wrong = [] if int((column == own).sum()) == 1 else [f"{own} is known from other records"]
        wrong += [] if (column == near).any() else [f"{near} is unknown"]
        return wrong + ([] if _one_slip(own, near) else [f"{near} is more than one slip away"])

    def _of_dates(self, row: int, source: FeatureSource, reason: Contribution) -> list[str]:
        dates = self.frame[source.columns[0]].dropna()
        own = self.frame[source.columns[0]].iloc[row]
        ends = [pd.Timestamp(end) for end in reason.expected]
        wrong = [] if pd.Timestamp(reason.value) == own else [f"{reason.value} is not {own}"]
        wrong += [f"{end} is no record's date" for end in ends if not ((dates - end).abs() < pd.Timedelta("1s")).any()]
        return wrong + [f"{end:%Y-%m-%d} is not said" for end in ends if f"{end:%Y-%m-%d}" not in reason.text]

    def _series(self, row: int, source: FeatureSource) -> tuple[pd.Series[Any], int]:
        """The column's values in the row's series, in their order, and the row's place there."""
        rows = self.like(row, source.group_by)
        return rows[source.columns[0]], int(np.searchsorted(rows.index, row))

    def _of_neighbours(self, row: int, source: FeatureSource, reason: Contribution) -> list[str]:
        values, at = self._series(row, source)
        around = values.iloc[[i for i in range(at - 2, at + 3) if i != at and 0 <= i < len(values)]]
        middle: Any = around.median()
        if len(around) == 3 and 0 < at < len(values) - 1:
            # At an end of the series that of the next on each side, if it is nearer.
            beside: Any = values.iloc[[at - 1, at + 1]].dropna()
            own: Any = values.iloc[at]
            if len(beside) == 2 and abs(own - beside.median()) < abs(own - middle):
                middle = beside.median()
        if values.dtype.kind == "M":
            middle = pd.Timestamp(str(middle))
            near = abs(pd.Timestamp(reason.expected) - middle) < pd.Timedelta("1s")
            return [] if near else [f"the middle is {middle}"]
        wrong = [] if _same(reason.expected, middle) else [f"the middle is {middle}"]
        return wrong or self._numbers_of(reason.text, [values.iloc[at], middle])

    def _of_run(self, row: int, source: FeatureSource, reason: Contribution) -> list[str]:
        values, at = self._series(row, source)
        runs = (values != values.shift()).cumsum()
        count = int((runs == runs.iloc[at]).sum())
        wrong = [] if reason.value == count else [f"there are {count} rows"]
        return wrong or self._numbers_of(reason.text, [values.iloc[at], count])

    def _of_reading(self, row: int, source: FeatureSource, reason: Contribution) -> list[str]:
        group = self.like(row, source.group_by)
        if isinstance(reason.value, (list, tuple)):
            other = int(reason.expected) - 1
            apart = [name for name in reason.value if not _same(*self.frame[name].iloc[[row, other]])]
            return [f"{name} differs from row {reason.expected}" for name in apart] + (
                [] if other in group.index else [f"row {reason.expected} is not of the same weeks"]
            )
        column = source.columns[0]
        count = int((group[column] == self.frame[column].iloc[row]).sum())
        wrong = [] if reason.value == count else [f"there are {count} rows"]
        return wrong or self._numbers_of(reason.text, [count, self.frame[column].iloc[row], 0.0])

    def _of_copy(self, row: int, source: FeatureSource, reason: Contribution) -> list[str]:
        if reason.expected is None:
            return []
        other = int(reason.expected) - 1
        return [f"{name} differs" for name in source.columns if not _same(*self.frame[name].iloc[[row, other]])]

    def _of_amended(self, row: int, source: FeatureSource, reason: Contribution) -> list[str]:
        if reason.expected is None:
            return []
        other = int(reason.expected) - 1
        apart = [name for name in source.columns if not _same(*self.frame[name].iloc[[row, other]])]
        return [] if apart == [reason.value] else [f"{apart} differ"]

    def _counted(self, reason: Contribution, count: int) -> list[str]:
        return [] if reason.expected == count else [f"{reason.expected} are {count}"]

    def _cells(self, row: int, source: FeatureSource) -> list[float]:
        """The row's own numbers in the columns that the words may name."""
        named = [name for name in (*source.columns, *source.group_by) if name in self.frame]
        return [float(self.frame[name].iloc[row]) for name in named if self.frame[name].dtype.kind == "f"]

    def _numbers_of(self, text: str, facts: Sequence[float], value: float = 0.0, usual: float = 0.0) -> list[str]:
        """The numbers of a clause that are none of the facts, what one is of the other, or part of a name."""
        allowed = [float(fact) for fact in facts if pd.notna(fact)]
        allowed += [abs(one) for one in allowed]
        if usual:
            allowed += [value / usual, 100.0 * value / usual]
        if "for a million" in text:
            allowed += [1e6 * one for one in allowed if 0.0 < one < 0.01]
        names = " ".join([*self.frame.columns, *(str(cell) for cell in self._texts(text))])
        width = max(allowed, default=0.0) - min(allowed, default=0.0)
        wrong = []
        for shown in _NUMBER.findall(text):
            told = float(shown.replace(",", ""))
            step = _ROUNDED * _step(width)
            near = any(abs(told - one) <= _ROUNDED * max(abs(one), abs(told)) + step for one in allowed)
            if not near and shown not in names:
                wrong.append(f"{shown} is none of {[round(one, 4) for one in allowed]}")
        return wrong

    def _texts(self, text: str) -> list[str]:
        """The levels of categories that a clause names, whole or cut."""
        found = []
        for name in self.frame:
            column = self.frame[name]
            if column.dtype == "category":
                found += [level for level in map(str, column.cat.categories) if level[:12] in text]
        return found


def _step(width: float) -> float:
    return 0.0 if not np.isfinite(width) else 10.0 ** (np.floor(np.log10(width)) - 1) if width > 0 else 0.0


def _same(first: Any, second: Any, close: float = _CLOSE) -> bool:
    if pd.isna(first) or pd.isna(second):
        return bool(pd.isna(first) and pd.isna(second))
    if isinstance(first, (int, float)) and isinstance(second, (int, float, np.number)):
        return bool(np.isclose(float(first), float(second), rtol=close, atol=1e-9))
    return bool(first == second)


def _derived(source: FeatureSource, column: str) -> list[str]:
    """The columns that follow from one and that the feature looks at."""
    return [name for name, part in source.derived.items() if column in part.columns]


def _form(text: Any) -> str:
    written = str(text).strip()
    return re.sub(r"\d", "#", re.sub(r"[^\W\d_]+", "a", written)) if re.search(r"\d", written) else "a"


def _one_slip(first: str, second: str) -> bool:
    """Whether one letter too many, too few, changed or turned round makes the one the other, or only signs and case."""
    plain = ["".join(filter(str.isalnum, text.casefold())) for text in (first, second)]
    if plain[0] == plain[1]:
        return True
    start = 0
    while start < min(len(first), len(second)) and first[start] == second[start]:
        start += 1
    a, b = first[start:], second[start:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])


def main(arguments: Sequence[str] | None = None) -> None:
    """Ask the tables, and end with an error where a reason is refuted."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pivots", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of real tables (%(default)s)")
    parser.add_argument("--tables", nargs="+", default=["superstore", "airquality", "classic", "realistic", "scms"])
    parser.add_argument("--all", action="store_true", help="every alert, and not the 100 most abnormal ones")
    given = parser.parse_args(arguments)
    frames, skipped = tables(given.data, given.tables, ROWS)
    for name, why in skipped.items():
        print(f"{name} skipped: {why}")
    failed = 0
    for name, frame in frames.items():
        wrong, asked = refuted(judged(frame), None if given.all else 100)
        failed += len(wrong)
        print(f"{name}: {sum(asked.values())} reasons asked, {len(wrong)} refuted: {dict(asked.most_common())}")
        print("".join(f"  {one}\n" for one in wrong[:20]), end="")
    if failed:
        raise SystemExit(f"{failed} statements are refuted")


if __name__ == "__main__":
    main()
