"""The kernel by which what is usual goes along with records: `numbers.moves.go_along`, compiled."""

from __future__ import annotations

from math import isnan
from typing import Any

from mlx_iforest.compiled_code import compiled

__all__ = ["go_along"]


@compiled(error_model="numpy")
def go_along(effects: Any, at: Any, away: Any, finest: Any, rules: Any, moved: Any) -> None:
    """`numbers.moves.go_along`, whose parameters these are; `at` and `finest` hold no place that is not there."""
    together, a_step, most, far = rules
    n, contexts, parts = at.shape
    for start in range(0, n, together):
        stop = min(start + together, n)
        for row in range(start, stop):
            for i in range(contexts):
                by = 0.0
                for j in range(parts):
                    by += effects[0, at[row, i, j]]
                moved[0, row, i] = by
                moved[1, row, i] = effects[1, at[row, i, finest[i]]]
        if stop - start < together:
            return
        for row in range(start, stop):
            for i in range(contexts):
                off, step = away[row, i] - moved[0, row, i], 0.0
                if abs(off) < far:
                    sharing = 0
                    for j in range(parts):
                        sharing += at[row, i, j] != 0
                    step = min(max(off, -most), most) * (a_step / max(sharing, 1))
                for j in range(parts):
                    effects[0, at[row, i, j]] += step
                effects[1, at[row, i, finest[i]]] += 0.0 if isnan(away[row, i]) else 1.0
        effects[0, 0] = effects[1, 0] = 0.0
