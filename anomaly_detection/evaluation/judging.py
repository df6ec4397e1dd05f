"""How much a model finds of errors put into records of which nobody knows which are odd."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anomaly_detection.data.frames import to_frame
from anomaly_detection.errors import DataError
from anomaly_detection.evaluation.injection import INJECTED_KINDS, check_kinds, find_errors, inject

__all__ = ["ALERT_SHARES", "Judgement", "judge"]

ALERT_SHARES = (0.01, 0.02, 0.05)


@dataclass(frozen=True)
class Judgement:
    """What was found of what was put in, over all draws.

    Attributes
    ----------
    recall : dict of kind to dict of alert share to float
        Share of a kind's changed records among so many most abnormal ones; the kind ``all`` is all of them.
    changed : dict of kind to int
        Records changed, added up over the draws.
    rows, draws : int
    note : str
        What the first draw changed.
    known : float
        Share of the records that the model remembers from its training, 0 to 1.
    left_out : dict of kind to str
        The kinds asked for that no draw could put in, each with what it needs.
    """

    recall: dict[str, dict[float, float]]
    changed: dict[str, int]
    rows: int
    draws: int
    note: str
    known: float
    left_out: dict[str, str]


def judge(
    detector: Any,
    frame: Any,
    *,
    kinds: Sequence[str] = INJECTED_KINDS,
    share: float = 0.015,
    draws: int = 5,
    seed: int = 0,
    alert_shares: Sequence[float] = ALERT_SHARES,
) -> Judgement:
    """Change some records, score all, and count how many changed ones are among the most abnormal.

    Records that are odd in reality compete for the same alerts and count as false ones, so the true recall is, if
    anything, higher. Each draw changes other records of the same table.

    Parameters
    ----------
    detector : Detector
        Trained; it is not changed.
    frame : table
        Records, best some that the model was not trained on.
    kinds, share, seed
        As `inject` takes them: by default all kinds that the table allows. Where the share is too small for all, each
        draw begins with others.
    draws : int, default 5
        How many times to change and score.
    alert_shares : sequence of float, default ALERT_SHARES
        Shares of the records that raise an alert, above 0 and at most 1.

    Returns
    -------
    Judgement

    Raises
    ------
    DataError
        As `inject`, and for records that the detector cannot read.
    """
    if draws < 1:
        raise DataError(f"The number of draws is {draws}; give 1 or more.")
    wrong = [value for value in alert_shares if not 0.0 < value <= 1.0]
    if wrong:
        raise DataError(f"The alert share {wrong[0]!r} is none; give a number above 0 and at most 1.")
    check_kinds(kinds)
    frame = to_frame(frame)
    preprocessor = detector.preprocessor
    found = {kind: dict.fromkeys(alert_shares, 0) for kind in ("all", *kinds)}
    changed = dict.fromkeys(found, 0)
    note = ""
    left_out = dict.fromkeys(kinds, "")
    first = 0
    errors = find_errors(frame, preprocessor.schema_, kinds)
    for draw in range(draws):
        turned = [*kinds[first:], *kinds[:first]]
        injected = inject(frame, kinds=turned, share=share, seed=seed + draw, errors=errors)
        first = (first + int((injected.labels == -1).sum())) % len(kinds)
        note = note or injected.note
        left_out = {kind: injected.left_out[kind] for kind in left_out if kind in injected.left_out}
        order = np.argsort(detector.score_samples(injected.frame), kind="stable")
        for kind in found:
            is_kind = injected.labels == -1 if kind == "all" else injected.anomaly_types == kind
            changed[kind] += int(is_kind.sum())
            for alerts in alert_shares:
                found[kind][alerts] += int(is_kind[order[: max(1, round(alerts * len(order)))]].sum())
    recall = {
        kind: {alerts: count / changed[kind] for alerts, count in counts.items()}
        for kind, counts in found.items()
        if changed[kind]
    }
    return Judgement(
        recall,
        {kind: changed[kind] for kind in recall},
        len(frame),
        draws,
        note,
        preprocessor.known_share(frame),
        left_out,
    )
