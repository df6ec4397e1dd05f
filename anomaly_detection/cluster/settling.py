"""The scores of all records of many files, for thresholds and p-values of models that learned from a sample of them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from anomaly_detection.alerts.scoring import score_parts
from anomaly_detection.calibration.all_scores import AllScores
from anomaly_detection.calibration.p_values import KEPT_SCORES
from anomaly_detection.calibration.thresholds import ShareRule
from anomaly_detection.cluster.choosing import Choice, choose
from anomaly_detection.cluster.judging import Job, model_of
from anomaly_detection.cluster.partition import Failure, Partition, RowGroup
from anomaly_detection.cluster.running import Workers, outcomes
from anomaly_detection.cluster.sampling import Sample
from anomaly_detection.cluster.store import Store, absolute
from anomaly_detection.cluster.surveying import read_as_written
from anomaly_detection.data.files import reason
from anomaly_detection.detector import Detector
from anomaly_detection.errors import AnomalyDetectionError, DataError
from anomaly_detection.model_files.persistence import save_detector

__all__ = ["Settling", "scored"]

Asked = Mapping[str, tuple[Job, float]]
"""By a model's name: the job, and the horizon of its scores."""


def scored(asked: Asked, choice: Choice) -> dict[str, AllScores] | Failure:
    """The scores that models give the records of a partition, of which some are to calibrate by."""
    one = choice.partition
    try:
        group = RowGroup(Store(next(iter(asked.values()))[0].data), one)
        found = {}
        for name, (job, horizon) in asked.items():
            detector = job.detector()
            judging = score_parts(detector, group, threshold=float(detector.model.offset_), first=one.first)
            scores = np.concatenate([batch.scores for batch in judging])
            found[name] = AllScores.of(scores, horizon, choice.rows)
        return found
    except AnomalyDetectionError as error:
        return Failure(one.label, str(error))
    except OSError as error:
        return Failure(one.label, reason(error))


@dataclass
class Settling:
    """Scores all records that a sample is of.

    Attributes
    ----------
    sample : Sample
    folder : Path
        Where models are put while workers need them: one that all of them find.
    workers : Workers
    show : callable
        Is told the stage, the share of it that is done, and a message.
    failures : list of Failure
        Partitions that could not be scored; thresholds are by the others.
    """

    sample: Sample
    folder: Path
    workers: Workers
    show: Callable[[str, float, str], object]
    failures: list[Failure] = field(default_factory=list)

    def __call__(self, detectors: Mapping[str, Detector]) -> dict[str, AllScores]:
        """What all records' scores are by each of some detectors, whose rules are `ShareRule`.

        Raises
        ------
        DataError
            Where no record can be scored.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".settling-", dir=self.folder) as folder:
            asked = {name: self._asked(detector, Path(folder), name) for name, detector in detectors.items()}
            choices = self._to_calibrate_by()
            found: dict[str, AllScores] = {}
            # Once, or twice where a sample misled about how low scores are.
            while asked:
                again: dict[str, tuple[Job, float]] = {}
                for name, scores in self._scores(asked, choices).items():
                    rule = detectors[name].threshold_rule
                    assert isinstance(rule, ShareRule)
                    farther = scores.farther(rule)
                    if farther is None:
                        found[name] = scores
                    else:
                        again[name] = (asked[name][0], farther)
                asked = again
        return found

    def refuse_other_folders(self) -> None:
        """Raise `DataError` where workers do not find the folder, before anything is trained."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=".settling-", dir=self.folder) as there:
            for path, found in outcomes(os.path.exists, [os.path.abspath(there.name)], self.workers, str):
                if found is not True:
                    raise DataError(
                        f"The workers do not find {os.path.dirname(path)}, where they would read the models to score"
                        " all records by; give --output in a folder that they have too."
                    )

    def _asked(self, detector: Detector, folder: Path, name: str) -> tuple[Job, float]:
        rule, learned = detector.threshold_rule, detector.learned_scores_
        assert isinstance(rule, ShareRule)
        assert learned is not None
        save_detector(detector, folder / f"{name}.safetensors")
        model = absolute(str(folder / f"{name}.safetensors"))
        trained, digest = model_of(model)
        job = Job(model, digest, self.sample.location, "")
        job = read_as_written(job, trained, self.sample.files, self.workers, self.show)
        return job, AllScores.expected_horizon(rule, learned)

    def _to_calibrate_by(self) -> list[Choice]:
        """Of the records that were not learned from, those with the smallest hashes, of each partition."""
        learned = self.sample.choices
        nearest = choose([one.partition for one in learned], self.sample.count + KEPT_SCORES, self.sample.seed)
        return [
            replace(one, rows=np.setdiff1d(one.rows, other.rows)) for one, other in zip(nearest, learned, strict=True)
        ]

    def _scores(self, asked: Asked, choices: list[Choice]) -> dict[str, AllScores]:
        found: dict[Partition, dict[str, AllScores]] = {}
        self.failures.clear()
        for choice, outcome in outcomes(partial(scored, asked), choices, self.workers, _label):
            if isinstance(outcome, Failure):
                self.failures.append(outcome)
            else:
                found[choice.partition] = outcome
            self.show("threshold", len(found) / len(choices), f"{len(found):,} of {len(choices):,} row groups")
        self.failures.sort(key=lambda failure: failure.label)
        if not found:
            first = self.failures[0]
            raise DataError(f"No record can be scored, as in {first.label}: {first.message}")
        return {
            name: AllScores.together([found[one.partition][name] for one in choices if one.partition in found])
            for name in asked
        }


def _label(choice: Choice) -> str:
    return choice.partition.label
