"""Fuzz the loader of native model files with atheris; README.md says how to run it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=[
        "anomaly_detection.model_files.branch_states",
        "anomaly_detection.model_files.column_states",
        "anomaly_detection.model_files.category_states",
        "anomaly_detection.model_files.date_states",
        "anomaly_detection.model_files.evidence_states",
        "anomaly_detection.model_files.form_states",
        "anomaly_detection.model_files.number_states",
        "anomaly_detection.model_files.repeat_states",
        "anomaly_detection.model_files.series_states",
        "anomaly_detection.model_files.feature_states",
        "anomaly_detection.model_files.shared_states",
        "anomaly_detection.model_files.undeclared_values",
        "anomaly_detection.model_files.native_file",
        "anomaly_detection.model_files.scaler_states",
        "anomaly_detection.model_files.threshold_states",
        "mlx_iforest.convert.declared",
        "mlx_iforest.convert.declared_values",
        "mlx_iforest.forest_state",
        "mlx_iforest.state",
    ]
):
    import anomaly_detection.model_files.native_file as native_file

from anomaly_detection.data.chunks import read_table
from anomaly_detection.errors import DataError, ModelFileError
from anomaly_detection.trained_detector import TrainedDetector
from tests.fuzz.native_edits import framed, mutated

GOLDEN = Path(__file__).parent.parent / "golden"
RECORDS = read_table(GOLDEN / "records.csv").iloc[:3]


def resealed(content: bytes) -> bytes:
    """The file with the checksum that it needs, or as it is where it has no header to put it in."""
    size = 8 + int.from_bytes(content[:8], "little")
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
        header = json.loads(content[8:size])
        header["__metadata__"].pop("checksum", None)
        text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
        header["__metadata__"]["checksum"] = hashlib.sha256(text + content[size:]).hexdigest()
        return framed(json.dumps(header, sort_keys=True, separators=(",", ":")).encode(), content[size:])
    return content


def test_one_input(content: bytes) -> None:
    """Load it as it is and with its checksum set right; what loads must score records."""
    for candidate in (content, resealed(content)):
        try:
            parts = native_file.from_bytes(candidate, "model.safetensors").parts
        except ModelFileError as error:
            if "\n" in str(error):
                raise RuntimeError("an error of more than one line") from error
            continue
        with contextlib.suppress(DataError):  # another schema may miss a column, or read another kind
            TrainedDetector(parts["preprocessor"], parts["scaler"], parts["model"]).score_samples(RECORDS)


def mutate(content: bytes, most: int, seed: int) -> bytes:
    """Change JSON values where the file can be taken apart, bytes anywhere else."""
    if seed % 4:
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
            return mutated(content, seed)
    return atheris.Mutate(content, most)


def main() -> None:
    """Run libFuzzer on a copy of the golden file."""
    with tempfile.TemporaryDirectory() as corpus:
        (Path(corpus) / "golden").write_bytes((GOLDEN / "native-v1.safetensors").read_bytes())
        atheris.Setup([*sys.argv, corpus, "-max_len=400000"], test_one_input, custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
