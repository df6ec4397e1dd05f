"""Synthetic supply-chain records with known anomalies."""

from __future__ import annotations

import difflib
import numbers
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from anomaly_detection.errors import DataError
from anomaly_detection.synthetic.classic import draw_classic
from anomaly_detection.synthetic.realistic import DIFFICULTIES, KIND_OF_TYPE, draw_realistic

__all__ = ["PROFILES", "SyntheticData", "generate"]

PROFILES = ("classic", "realistic")


@dataclass(frozen=True)
class SyntheticData:
    """Records and the truth about them.

    Attributes
    ----------
    frame : pandas.DataFrame
        One record a row, no truth among its columns; the index counts from 0 in `generate`'s result.
    labels : numpy.ndarray of int, shape (rows,)
        +1 normal, -1 anomaly.
    anomaly_types : numpy.ndarray of str, shape (rows,)
        'normal' or the name of the anomaly's type.
    anomaly_kinds : numpy.ndarray of str, shape (rows,)
        'normal', 'point', 'contextual' or 'collective'.
    """

    frame: pd.DataFrame
    labels: np.ndarray
    anomaly_types: np.ndarray
    anomaly_kinds: np.ndarray

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, rows: np.ndarray) -> SyntheticData:
        """Return the rows at these positions (integers or a mask), truth included; the frame keeps their index."""
        frame = self.frame.iloc[rows]
        return SyntheticData(frame, self.labels[rows], self.anomaly_types[rows], self.anomaly_kinds[rows])


def generate(
    profile: str = "classic",
    n_samples: int = 10_000,
    *,
    anomaly_ratio: float = 0.05,
    seed: int = 42,
    difficulty: str = "medium",
) -> SyntheticData:
    """Make supply-chain records, `round(anomaly_ratio * n_samples)` of them anomalies.

    Parameters
    ----------
    profile : {'classic', 'realistic'}
        'classic': independent columns and six types of point anomaly, as in `anomaly_detection.synthetic.classic`, over
        2023.
        'realistic': orders of a trading company, with structure, missing values and anomalies of three kinds, as in
        `anomaly_detection.synthetic.realistic`, over 2023 and 2024.
    n_samples : int
        Rows, at least 1.
    anomaly_ratio : float
        Share of anomalies, 0 to 0.5.
    seed : int
        At least 0. The same arguments give the same result.
    difficulty : {'easy', 'medium', 'hard'}
        How far the realistic profile's anomalies stand out. The classic profile knows 'medium' alone.

    Returns
    -------
    SyntheticData

    Raises
    ------
    DataError
        An argument is of the wrong type or out of range.
    """
    _one_of("profile", profile, PROFILES)
    _one_of("difficulty", difficulty, DIFFICULTIES)
    if not _is_integer(n_samples) or n_samples < 1:
        raise DataError(f"n_samples is {n_samples!r}; give a whole number of rows, 1 or more")
    if not _is_integer(seed) or seed < 0:
        raise DataError(f"seed is {seed!r}; give a whole number, 0 or more")
    if isinstance(anomaly_ratio, bool) or not isinstance(anomaly_ratio, numbers.Real) or not 0 <= anomaly_ratio <= 0.5:
        raise DataError(f"anomaly_ratio is {anomaly_ratio!r}; give a share from 0 to 0.5")
    if profile == "classic" and difficulty != "medium":
        raise DataError(f"difficulty {difficulty!r} belongs to the realistic profile; leave it out for classic")

    rng = np.random.default_rng(int(seed))
    n_anomalies = round(float(anomaly_ratio) * int(n_samples))
    if profile == "classic":
        frame, types = draw_classic(int(n_samples), n_anomalies, rng)
        kinds = np.where(types == "normal", "normal", "point")
    else:
        frame, types = draw_realistic(int(n_samples), n_anomalies, rng, difficulty)
        names, which = np.unique(types, return_inverse=True)
        kinds = np.array([KIND_OF_TYPE[name] for name in names.tolist()])[which]
    return SyntheticData(frame, np.where(types == "normal", 1, -1), types, kinds)


def _is_integer(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _one_of(name: str, value: object, choices: Iterable[str]) -> None:
    choices = list(choices)
    if isinstance(value, str) and value in choices:
        return
    near = difflib.get_close_matches(str(value), choices, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise DataError(f"{name} {value!r} is unknown: give one of {', '.join(map(repr, choices))}{hint}")
