"""Making a fitted forest smaller: what was asked for, one step after the other, and what it did to the scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anomaly_detection.errors import DataError
from mlx_iforest.base import BaseIsolationForest
from mlx_iforest.compress.quantization import BITS
from mlx_iforest.performance import PruningReport

__all__ = ["NONE", "Compressed", "Compression"]


@dataclass(frozen=True)
class Compressed:
    """What making a forest smaller did.

    Attributes
    ----------
    pruning : PruningReport or None
        None where nothing was pruned.
    quantized_bits : {8, 16} or None
    forest_bytes, forest_bytes_before : int
        As the forest is stored.
    largest_score_change, mean_score_change : float
        Of the records that `Compression.apply` was given, by all steps together; in units of the score, at least 0.
    """

    pruning: PruningReport | None
    quantized_bits: int | None
    forest_bytes: int
    forest_bytes_before: int
    largest_score_change: float
    mean_score_change: float


@dataclass(frozen=True)
class Compression:
    """What is done to a fitted forest before its threshold is set; nothing by default.

    Attributes
    ----------
    prune : float in [0, 1) or None
        The most that a score may change by what is pruned (`BaseIsolationForest.prune`). Comes first, since what is
        left is quantised.
    quantize : {8, 16} or None
        Bits of the codes that thresholds and leaf values become (`BaseIsolationForest.quantize`).
    """

    prune: float | None = None
    quantize: int | None = None

    def __post_init__(self) -> None:
        if self.prune is not None and not 0 <= self.prune < 1:
            raise DataError(
                f"A pruning tolerance of {self.prune!r} makes no sense; scores lie between -1 and 0, so give a number"
                " from 0 up and below 1, such as 0.01."
            )
        if self.quantize is not None and self.quantize not in BITS:
            raise DataError(f"A model cannot be quantised to {self.quantize!r} bits; give 8 or 16.")

    def __bool__(self) -> bool:
        return self.prune is not None or self.quantize is not None

    def apply(
        self, model: BaseIsolationForest, features: npt.NDArray[np.float32]
    ) -> tuple[BaseIsolationForest, Compressed]:
        """A smaller model; the one given stays as it is.

        Parameters
        ----------
        model : BaseIsolationForest
            Fitted.
        features : ndarray (rows, features) float32
            Of records that the model has not seen, if there are any: they tell which trees are redundant, and how far
            scores move.

        Returns
        -------
        model : BaseIsolationForest
        done : Compressed
        """
        smaller, pruning = model, None
        if self.prune is not None:
            smaller = smaller.prune(self.prune, features)
            pruning = smaller.pruning_
        if self.quantize is not None:
            smaller = smaller.quantize(self.quantize)
        change = np.abs(smaller.score_samples(features) - model.score_samples(features))
        return smaller, Compressed(
            pruning=pruning,
            quantized_bits=smaller.quantized_bits_,
            forest_bytes=smaller.model_bytes(),
            forest_bytes_before=model.model_bytes(),
            largest_score_change=float(change.max()),
            mean_score_change=float(change.mean()),
        )


NONE = Compression()
