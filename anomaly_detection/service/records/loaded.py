"""`Loaded`: the models, rules and hidden columns that a process has in its memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from anomaly_detection.calibration.drift import find_drift
from anomaly_detection.service.alerts.rules import Rule, rules_of
from anomaly_detection.service.learning.models import current_models
from anomaly_detection.service.processes.memory import settle
from anomaly_detection.service.processes.metrics import Sample
from anomaly_detection.service.records.in_effect import compare_with_recent, judge_in_effect
from anomaly_detection.service.records.judging import Judge
from anomaly_detection.service.storage.clock import seconds_since
from anomaly_detection.service.storage.database import Database
from anomaly_detection.service.streams.stream_ids import StreamIds
from anomaly_detection.service.streams.streams import all_streams, personal_columns

__all__ = ["Loaded"]

_SCORES_FOR_DRIFT = 1000


@dataclass(frozen=True)
class _Model:
    """A stream's judge, the moment its model was made, and the last scores that it gave."""

    judge: Judge
    created: str
    scores: deque[float] = field(default_factory=lambda: deque(maxlen=_SCORES_FOR_DRIFT))


class Loaded:
    """What judges and hides now; `reload` takes it over from the database, whichever process changed it.

    Parameters
    ----------
    database : Database
    models_dir : Path
        Where the files of models are.
    personal : sequence of str
        Columns that are personal in every stream.
    ids : StreamIds
        Told of streams that are gone.

    Attributes
    ----------
    personal : frozenset of str
        Columns of which only callers with the right see the values, in whatever stream.
    """

    def __init__(self, database: Database, models_dir: Path, personal: Sequence[str], ids: StreamIds) -> None:
        self._database, self._models_dir, self._given, self._ids = database, models_dir, personal, ids
        self.personal: frozenset[str] = frozenset(personal)
        self._models: dict[int, _Model] = {}
        self._rules: dict[int, list[Rule]] = {}
        self._names: dict[str, int] = {}
        self._reloading = threading.Lock()

    def reload(self) -> None:
        """Take over what has changed; called again and again."""
        with self._reloading:
            if self._reload():
                # Not before the variables are gone that hold what was replaced.
                settle()

    def _reload(self) -> bool:
        """Do it, and say whether other models judge now."""
        with self._database.reading() as connection:
            rows = current_models(connection)
            self._rules = rules_of(connection)
            known = all_streams(connection)
        self.personal = personal_columns(known, self._given)
        self._names = {stream.name: stream.id for stream in known}
        self._ids.compare(known)
        gone = self._models.keys() - rows.keys()
        is_new = bool(gone)
        for stream_id, row in rows.items():
            judge = self.judge(stream_id)
            made = judge_in_effect(self._database, self._models_dir, row, judge)
            if judge is None or made.model_id != judge.model_id:
                made.prepare()
                is_new = True
            compare_with_recent(self._database, stream_id, made)
            if made is not judge:
                self._models[stream_id] = _Model(made, row["created"])
        for stream_id in gone:
            # The stream was deleted, or the model is no longer in effect.
            del self._models[stream_id]
        return is_new

    def judge(self, stream_id: int) -> Judge | None:
        """What judges a stream's records, if there is anything yet."""
        model = self._models.get(stream_id)
        return None if model is None else model.judge

    def judge_named(self, name: str) -> Judge | None:
        """The same by the stream's name, without asking the database: what is not taken over yet has no judge here."""
        number = self._names.get(name)
        return None if number is None else self.judge(number)

    @property
    def judges(self) -> dict[int, Judge]:
        """What judges each stream, by its id."""
        return {stream_id: model.judge for stream_id, model in self._models.items()}

    def told(self, stream_id: int) -> dict[str, object] | None:
        """The version of a stream's model and when it was made; None where there is none."""
        model = self._models.get(stream_id)
        return None if model is None else {"version": model.judge.version, "created": model.created}

    def rules(self, stream_id: int) -> Sequence[Rule]:
        """Those of a stream that hide alerts."""
        return self._rules.get(stream_id, ())

    def scored(self, stream_id: int, scores: Iterable[float]) -> None:
        """Remember the last scores, which tell of drift."""
        model = self._models.get(stream_id)
        if model is not None:
            model.scores.extend(scores)

    def gauges(self, stream_id: int, name: str) -> Iterator[Sample]:
        """What is measured of a stream's model."""
        model = self._models.get(stream_id)
        if model is None:
            return
        labels = {"stream": name}
        yield "model_version", labels, model.judge.version
        yield "model_age_seconds", labels, seconds_since(model.created)
        drift = find_drift(model.judge.calibration, list(model.scores))
        if drift is not None:
            yield "score_drift_distance", labels, drift.distance
