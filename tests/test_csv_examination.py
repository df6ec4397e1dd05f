"""Lines that are passed over together are examined as one by one, whatever stands among them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_detection.data.formats import csv_examination
from anomaly_detection.data.formats.csv_dialect import Dialect
from anomaly_detection.data.formats.csv_examination import Examination
from anomaly_detection.errors import DataError

PLAIN = "PO-1,2023-01-02,4.5\n"
ODD = (
    'PO-2,"a, b",1\n', 'PO-3,"two\n', 'lines",2\n', "PO-4,1\n", "PO-5,1,2,3\n", "PO-6,1,2,\n", "\n", ",,\n", " x,1,2\n",
    "-5,1,2\n", "Total,,7\n", "PO-9,,3\n", 'PO-7, "a",1\n', "PO-8,1,a long text\r\n", "PO-9,1,2\r", 'a"b,1,2\n',
    "é,1,2\n", "PO,1,2", "id,date,value\n", '\ufeffid,"date",value\n', "ID,Date,value\n",
)  # fmt: skip


def examined(lines: list[str]) -> Any:
    """All that is found out, or what is said of a line that cannot be."""
    found = Examination("f.csv", Dialect(",", usual=3), has_header=True)
    try:
        found.run(iter(lines))
    except DataError as error:
        return str(error)
    return asdict(found), found.remarks()


@settings(deadline=None, max_examples=150)
@given(
    pieces=st.lists(st.one_of(st.integers(1, 40), st.sampled_from(ODD)), max_size=12),
    together=st.sampled_from([1, 3, 1000]),
)
def test_lines_are_examined_alike_together_and_one_by_one(pieces: list[int | str], together: int) -> None:
    lines = ["id,date,value\n", *[PLAIN] * 201]
    for piece in pieces:
        lines += [piece] if isinstance(piece, str) else [PLAIN] * piece
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_examination, "_TOGETHER", together)
        found = examined(lines)
        patch.setattr(csv_examination._Ahead, "pass_over", lambda *_: 0)
        assert found == examined(lines)


def test_a_plain_file_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = []
    usual = csv_examination._Ahead.pass_over

    def counted(self: Any, delimiter: str, width: int) -> int:
        passed.append(usual(self, delimiter, width))
        return passed[-1]

    monkeypatch.setattr(csv_examination._Ahead, "pass_over", counted)
    found = Examination("f.csv", Dialect(",", usual=3), has_header=True)
    found.run(iter(["id,date,value\n", *[PLAIN] * 2_000, ODD[0], *[PLAIN] * 500]))
    assert found.records == 2_501
    assert sum(passed) == 2_300
