"""``anomaly-detection judge``: how much a saved model finds of errors put into a file's records."""

from __future__ import annotations

import argparse

from anomaly_detection.cli.arguments import layout
from anomaly_detection.cli.columns import missing_codes
from anomaly_detection.data.chunks import read_table
from anomaly_detection.evaluation.injection import ERROR_KINDS, INJECTED_KINDS, check_kinds
from anomaly_detection.evaluation.judging import ALERT_SHARES, judge
from anomaly_detection.model_files.persistence import load_detector
from anomaly_detection.reports.console import note, result, table

__all__ = ["run"]

_MOSTLY_KNOWN = 0.1


def run(arguments: argparse.Namespace) -> int:
    """Judge, then print the shares found; raises the library's errors."""
    kinds = [kind.strip().replace(" ", "_") for kind in arguments.kinds or INJECTED_KINDS]
    check_kinds(kinds)
    detector = load_detector(arguments.model)
    frame = read_table(arguments.data, note, layout(arguments))
    if arguments.missing:
        features = detector.preprocessor
        features.schema_ = features.schema_.with_codes(missing_codes(arguments.missing, list(frame.columns)))
    found = judge(detector, frame, kinds=kinds, share=arguments.share, draws=arguments.draws, seed=arguments.seed)
    result(
        table(
            [
                {
                    "changed": kind.replace("_", " "),
                    "records": f"{found.changed[kind]:,}",
                    **{f"at {share:.0%} alerts": f"{found.recall[kind][share]:.0%}" for share in ALERT_SHARES},
                    "what": ERROR_KINDS[kind].about if kind in ERROR_KINDS else "",
                }
                for kind in [*(kind for kind in found.recall if kind != "all"), "all"]
            ],
            right=frozenset({"records", *(f"at {share:.0%} alerts" for share in ALERT_SHARES)}),
        )
    )
    middle = ALERT_SHARES[1]
    result(
        f"If you look at the {middle:.0%} most abnormal of your records ({round(middle * found.rows):,} of "
        f"{found.rows:,}), you see {found.recall['all'][middle]:.0%} of the changed ones. "
        f"Changed were {arguments.share:.1%} of the records, one error each, {found.draws} times over; records that "
        "were odd before compete for the same alerts. It says how well the model finds errors of these kinds, not how "
        "many errors your records hold."
    )
    if found.left_out:
        left_out = [f"{kind.replace('_', ' ')} (needs {needs})" for kind, needs in found.left_out.items()]
        result(f"Not put in: {'; '.join(left_out)}.")
    if found.known > _MOSTLY_KNOWN:
        note(
            f"{found.known:.0%} of these records were in the training, and a changed copy of one that the model knows "
            "is easier to find: judge with records that it has not seen."
        )
    note(found.note)
    return 0
