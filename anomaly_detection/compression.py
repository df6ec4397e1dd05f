"""Making a fitted forest smaller: what was asked for, one step after the other, and what it did to the scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlx_iforest.base import BaseIsolationForest
from mlx_iforest.quantization import BITS

from .errors import DataError

__all__ = ["NONE", "Compression", "score_change"]


@dataclass(frozen=True)
class Compression:
    """What is done to a fitted forest before its threshold is set; nothing by default.

    Attributes
    ----------
    quantize : {8, 16} or None
        Bits of the codes that thresholds and leaf values become (`BaseIsolationForest.quantize`).
    """

    quantize: int | None = None

    def __post_init__(self) -> None:
        if self.quantize is not None and self.quantize not in BITS:
            raise DataError(f"A model cannot be quantised to {self.quantize!r} bits; give 8 or 16.")

    def __bool__(self) -> bool:
        return self.quantize is not None

    def apply(self, model: BaseIsolationForest, features: npt.NDArray[np.float32]) -> BaseIsolationForest:
        """The smaller model; the one given stays as it is.

        Parameters
        ----------
        model : BaseIsolationForest
            Fitted.
        features : ndarray (rows, features) float32
            What it was fitted on.
        """
        if self.quantize is not None:
            model = model.quantize(self.quantize)
        return model


NONE = Compression()


def score_change(
    before: BaseIsolationForest, after: BaseIsolationForest, features: npt.NDArray[np.float32]
) -> dict[str, Any]:
    """What a compression did: the report's ``compression`` entry.

    Parameters
    ----------
    before, after : BaseIsolationForest
        The fitted model, and what became of it.
    features : ndarray (rows, features) float32
        Of records that the model has not seen, at least one.
    """
    change = np.abs(after.score_samples(features) - before.score_samples(features))
    return {
        "quantized_bits": after.quantized_bits_,
        "forest_bytes": after.model_bytes(),
        "forest_bytes_before": before.model_bytes(),
        "largest_score_change": float(change.max()),
        "mean_score_change": float(change.mean()),
        "measured_on": "validation part",
    }
