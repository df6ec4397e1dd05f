"""The pictures: what is in them, and that they are drawn from whatever there is."""

from __future__ import annotations

import itertools
import os
import struct
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from report_example import LABELS, ORACLE, SCORES, THRESHOLD, example, metrics

from anomaly_detection.errors import DataError
from anomaly_detection.evaluation.model_scores import CurveData, ModelScores
from anomaly_detection.reports import plots


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw few pixels: 9.6 inches become about 190."""
    monkeypatch.setattr(plots, "_DPI", 20)


def texts(figure: Any) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def size(picture: bytes) -> tuple[int, int]:
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", picture[16:24])
    return width, height


def test_confusion_matrices_show_the_counts() -> None:
    report, _ = example()
    figure = plots.confusion_matrices(report.metrics)
    assert figure is not None
    assert [axes.get_title() for axes in figure.axes] == ["base", "optimised", "scikit-learn"]
    assert texts(figure)[:8] == ["3", "75.0 %", "1", "25.0 %", "1", "16.7 %", "5", "83.3 %"]


def test_a_class_without_records_has_no_percentages() -> None:
    counts = {"true_positive": 0, "false_positive": 1, "false_negative": 0, "true_negative": 9}
    figure = plots.confusion_matrices({"base": metrics(confusion_matrix=counts)})
    assert figure is not None
    assert texts(figure) == ["0", "0", "1", "10.0 %", "9", "90.0 %"]


def test_curves_carry_areas_and_the_threshold() -> None:
    _, curves = example()
    figure = plots.curves(curves, ORACLE)
    assert figure is not None
    left, right = figure.axes[:2]
    assert [text.get_text() for text in left.get_legend().get_texts()] == [
        "base: area 0.8958",
        "optimised: area 1.0000",
        "scikit-learn: area 0.7917",
        "oracle",
        "guessing",
    ]
    points = {tuple(line.get_xydata()[0]) for line in left.lines if len(line.get_xydata()) == 1}
    assert points == {(1 / 6, 0.75), (0.0, 1.0), (2 / 6, 0.5), (0.0008, 0.948)}
    points = {tuple(line.get_xydata()[0]) for line in right.lines if len(line.get_xydata()) == 1}
    assert points == {(0.75, 0.75), (1.0, 1.0), (0.5, 0.5), (0.948, 0.985)}


@pytest.mark.parametrize(("models", "insets"), [(("optimized",), 1), (tuple(SCORES), 0)])
def test_the_corner_is_enlarged_when_all_happens_there(models: tuple[str, ...], insets: int) -> None:
    _, curves = example(models=models)
    figure = plots.curves(curves)
    assert figure is not None
    assert sum(len(axes.child_axes) for axes in figure.axes) == insets


def test_each_class_is_scaled_to_itself() -> None:
    middles_of_bins = SCORES["base"] + 0.05
    figure = plots.score_histograms(CurveData(LABELS, {"base": ModelScores(middles_of_bins, THRESHOLD)}))
    (axes,) = figure.axes
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["normal: 6 records", "anomaly: 4 records", "threshold"]
    # Two of the six normal records share a bin of width 0.1; no two of the four anomalies do.
    assert [patch.get_path().vertices[:, 1].max() for patch in axes.patches] == pytest.approx([100 / 3, 25])
    assert axes.get_yscale() == "linear"


def test_without_labels_counts_are_logarithmic_and_parted_at_the_threshold() -> None:
    _, curves = example(labelled=False, models=("sklearn",))
    (axes,) = plots.score_histograms(curves).axes
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["no alert: 6 records", "alert: 4 records", "threshold"]
    assert axes.get_yscale() == "log"
    heights = []
    for patch in axes.patches:
        # The outline goes along the tops, and back below.
        outline = patch.get_path().vertices
        along = itertools.pairwise(outline[: len(outline) // 2 + 1].tolist())
        heights += [((start + end) / 2, height) for (start, height), (end, _) in along if end > start]
    assert sum(height for middle, height in heights if middle < 0.0) == 4
    assert sum(height for middle, height in heights if middle > 0.0) == 6


def test_a_bin_edge_lies_on_the_threshold_and_every_score_in_a_bin() -> None:
    scores = np.random.default_rng(0).normal(-0.5, 0.1, 500)
    for threshold in (-0.51, -2.0, 1.0, float(scores.min()), float(scores.max())):
        edges = plots._bins(scores, threshold)
        assert np.isclose(edges, threshold).any()
        assert edges[0] <= scores.min() + 1e-12
        assert edges[-1] > scores.max()
        assert (np.diff(edges) > 0).all()


def test_recall_by_type_names_every_type_with_its_number() -> None:
    report, curves = example()
    figure = plots.recall_by_type(report.metrics, curves)
    assert figure is not None
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cost spike (2)", "delay (2)"]
    assert [bar.get_width() for bar in axes.patches] == [50, 100, 100, 100, 0, 100]
    assert texts(figure) == ["50 %", "100 %", "100 %", "100 %", "0 %", "100 %"]


def test_without_labels_only_the_histograms_remain() -> None:
    report, curves = example(labelled=False)
    assert plots.confusion_matrices(report.metrics) is None
    assert plots.curves(curves) is None
    assert plots.recall_by_type(report.metrics, curves) is None
    assert size(plots.png(plots.score_histograms(curves)))[0] > 150


@pytest.mark.parametrize("label", [1, -1])
def test_one_class_has_no_curves(label: int) -> None:
    curves = CurveData(np.full(10, label), {"base": ModelScores(SCORES["base"], THRESHOLD)})
    assert plots.curves(curves) is None
    assert plots.png(plots.score_histograms(curves))


@pytest.mark.parametrize(
    ("scores", "threshold"),
    [(np.zeros(3), 0.0), (np.zeros(1), -1.0), (np.full(5, -0.5), -0.5), (np.arange(4.0), -5.0)],
)
def test_few_or_equal_scores_and_no_alert(scores: Any, threshold: float) -> None:
    curves = CurveData(None, {"base": ModelScores(scores, threshold)})
    assert size(plots.png(plots.score_histograms(curves)))[0] > 150


def test_names_from_the_data_are_no_formulas_and_may_be_in_any_script() -> None:
    _, curves = example()
    recall = {"$\\frac{": 0.5, "供应商 $x$": 1.0, "x" * 300: 0.0}
    figure = plots.recall_by_type({"optimized": metrics(recall_by_type=recall)}, curves)
    assert figure is not None
    assert size(plots.png(figure))[0] < 300


def test_the_same_figure_gives_the_same_bytes() -> None:
    report, _ = example()
    first, second = plots.confusion_matrices(report.metrics), plots.confusion_matrices(report.metrics)
    assert first is not None
    assert second is not None
    assert plots.png(first) == plots.png(second)


def test_threads_may_draw_at_once() -> None:
    report, _ = example()
    drawn: list[bytes] = []

    def draw() -> None:
        figure = plots.confusion_matrices(report.metrics)
        assert figure is not None
        drawn.append(plots.png(figure))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(drawn) == 4
    assert len(set(drawn)) == 1


def test_matplotlib_is_loaded_late_and_pyplot_never() -> None:
    code = (
        "import sys\nfrom anomaly_detection.reports import plots, report, tables\n"
        "late = 'matplotlib' not in sys.modules\n"
        "from anomaly_detection.evaluation.metrics import evaluate\n"
        "plots.png(plots.confusion_matrices({'base': evaluate([1, -1], [1, -1], [0, -1])}))\n"
        "print(late, 'matplotlib.pyplot' in sys.modules)"
    )
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    answer = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["True", "False"]


@pytest.mark.parametrize(
    ("labels", "models", "types", "message"),
    [
        (LABELS, {}, None, r"scores are of \[\]"),
        (LABELS, {"mine": ModelScores(SCORES["base"], 0)}, None, "'mine'.*base, optimized, sklearn"),
        (LABELS[:3], {"base": ModelScores(SCORES["base"], 0)}, None, r"lengths \[3, 10\]"),
        (LABELS, {"base": ModelScores(SCORES["base"], 0)}, ["x"], r"lengths \[1, 10\]"),
        (None, {"base": ModelScores(np.array([]), 0)}, None, r"lengths \[0\]"),
        (None, {"base": ModelScores(np.array([0, np.nan]), 0)}, None, "NaN or infinite"),
    ],
)
def test_data_that_does_not_fit_together(labels: Any, models: Any, types: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        CurveData(labels, models, types)
