"""The form of what names records: an order's number that lost its last figures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.table import Table, missing_in, objects_of
from anomaly_detection.features.forms import Columns, form_of, forms_of, written
from anomaly_detection.features.group import FeatureSource, Range, Row
from anomaly_detection.texts.said import N_, Said

__all__ = ["NameForms"]

Floats = npt.NDArray[np.float64]

_MOST_OTHERS = 0.001  # of the rows, and two: with more, numbers are counted up and have no fixed length
_MANY = 0.1  # of the rows of a batch
_LONGEST = 40  # signs
_FIGURES = re.compile("#+")


class NameForms(Columns):
    """The form (`form_of`) of names of records that hardly ever have another one: ``a-####-######``.

    One figure more than usual is no other form: numbers are counted up. Where more than a tenth of the rows that
    come together are unusual, each is worth as much less: another system writes others.
    """

    word = "form of the name"
    titled: ClassVar[Mapping[str, str]] = {"rare": N_("written unusually")}

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """`Columns.features_of`, less where many rows are unusual."""
        found = super().features_of(X)
        together = np.count_nonzero(found, axis=0)
        found /= np.maximum(together / (1.0 + _MANY * len(X)), 1.0).astype(np.float32)
        return found

    def _learn(self, column: Any) -> dict[str, int] | None:
        forms = Counter(forms_of([text for text in _texts(column) if text is not None]))
        most = max(forms, key=lambda form: forms[form], default="")
        if (
            "#" not in most
            or len(most) > _LONGEST
            or forms.total() - forms[most] > max(_MOST_OTHERS * len(column), 2.0)
        ):
            return None
        return dict(forms.most_common())

    def _counts(self, column: Any, learned: dict[str, int]) -> Floats:
        usual = next(iter(learned))
        longer = (usual[:end] + "#" + usual[end:] for end in (match.end() for match in _FIGURES.finditer(usual)))
        known = {**dict.fromkeys(longer, learned[usual]), **learned}
        texts = _texts(column)
        found = np.full(len(texts), float(learned[usual]))
        # Nearly all are of the usual form: a match is found sooner than a form.
        is_usual = _pattern(usual).fullmatch
        others = [i for i, text in enumerate(texts) if text is None or is_usual(text) is None]
        forms = [None if texts[i] is None else form_of(str(texts[i])) for i in others]
        found[others] = [np.nan if form is None else known.get(form, 0) for form in forms]
        return found

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> Said:
        """`FeatureGroup.phrase`."""
        return written(source.columns[0], value, usual, rows)


def _texts(column: Any) -> list[str | None]:
    """Each row's name as text; None where there is none. 12.0 is 12, as in a column with gaps."""
    cells = objects_of(column)
    texts: list[Any] = cells.tolist()
    if {*map(type, texts)} == {str}:
        return [*map(str.strip, texts)]
    return [
        None if gap else str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()
        for cell, gap in zip(texts, missing_in(cells).tolist(), strict=True)
    ]


@lru_cache(1_000)
def _pattern(form: str) -> re.Pattern[str]:
    """What texts of a form match."""
    return re.compile("".join({"a": r"[^\W\d_]+", "#": r"\d"}.get(sign, re.escape(sign)) for sign in form))
