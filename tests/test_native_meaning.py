"""A model file that means something else than what was written is refused, or is a model that is valid by itself."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.by_meaning import changed, outcome, sample, scores_of

SOME = 240


def test_some_of_all_changes(tmp_path: Path) -> None:
    counts = {"refused": 0, "same": 0, "other": 0}
    faults = []
    for change in sample(SOME, seed=0):
        try:
            counts[outcome(changed(change), scores_of(change.of), tmp_path / "model.safetensors")] += 1
        except Exception as error:  # all of them are to be seen
            faults.append(f"{change}: {type(error).__name__}: {error}")
    assert not faults, "\n".join(faults)
    assert counts["refused"] > SOME / 2
